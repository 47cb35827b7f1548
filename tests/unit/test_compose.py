"""The stack like production says nothing that is not so: settings, files, names exist; nothing is open by mistake."""

import os
import re
from pathlib import Path

import pytest
import yaml

from storage.settings import Settings, load_settings

INFRA = Path(__file__).parents[2] / "infra"
STACK = yaml.safe_load((INFRA / "compose.yaml").read_text("utf-8"))
SERVICES = STACK["services"]


@pytest.mark.parametrize("name", ["deploy", "worker", "worker-ocr"])
def test_every_setting_is_one_and_production_refuses_nothing_of_it(name, tmp_path):
    given = {key: value for key, value in SERVICES[name]["environment"].items() if key.startswith("MINUTIER_")}
    given["MINUTIER_TSA_URLS"] = "https://tsa.example.org/"
    found = load_settings(tmp_path, {**given, "MINUTIER_HOME": str(tmp_path)})
    assert isinstance(found, Settings)
    assert (found.production, len(found.replicas), len(found.replica_credentials)) == (True, 2, 2)
    from storage.production import stand_ins

    assert stand_ins(found) == []
    named = {value for value in given.values() if str(value).startswith("/run/secrets/")}
    for each in named:
        for path in each.split(","):
            assert path.removeprefix("/run/secrets/") in SERVICES[name]["secrets"], path


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_that_are_declared_and_given_to_who_names_them(name):
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(STACK["secrets"])
    told = yaml.safe_dump({key: service.get(key) for key in ("command", "environment", "volumes")})
    for used in set(re.findall(r"/run/secrets/(\w+)", told)):
        assert used in service["secrets"], used
    assert not re.search(r"(?i)password\s*[:=]\s*[^/\s$]", told.replace("PASSWORD_FILE", "")), told


def test_each_secret_is_on_the_page_that_says_how_to_make_it():
    page = (INFRA / "compose.md").read_text("utf-8")
    for name in STACK["secrets"]:
        assert f"`{name}`" in page or name.endswith("_b"), name


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_or_built_is_there(name):
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (INFRA / source).exists() if source.startswith(".") else source in STACK["volumes"], source
    if "build" in service:
        context = INFRA / service["build"]["context"]
        file = context / service["build"].get("dockerfile", "Dockerfile")
        assert file.is_file()
        for sources in re.findall(r"^COPY (?!--)(.+) \S+$", file.read_text(), re.MULTILINE):
            assert all((context / source).exists() for source in sources.split())
    else:
        assert re.search(r":\d+\.\d+", service["image"]), service["image"]
    if script := next((each for each in service.get("volumes", []) if each.startswith("./postgres/")), None):
        assert os.access(INFRA / script.split(":")[0], os.X_OK)


def test_only_the_front_listens_outside_and_stores_are_reached_by_their_proxy_alone():
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["front"]
    for store in ("a", "b"):
        assert SERVICES[f"minio-{store}"]["networks"] == [f"store-{store}"]
        there = {name for name, each in SERVICES.items() if f"store-{store}" in each["networks"]}
        assert there == {f"minio-{store}", f"store-{store}"}
        assert STACK["networks"][f"store-{store}"] == {"internal": True}
    assert STACK["networks"]["inside"] == {"internal": True}


def test_what_is_ours_runs_without_root_without_capabilities_and_writes_nowhere_else():
    for name, service in SERVICES.items():
        if service.get("image") == "minutier:local":
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
    assert re.search(r"^USER 10001$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)


def test_no_secret_goes_into_an_image():
    """Everything is left out but what the image copies, and none of that is the folder of secrets."""
    lines = [line for line in (INFRA.parent / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = set()
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", (INFRA / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(sources.split())
    assert copied == sent
    assert not any("secrets" in each for each in sent)
    assert (INFRA / "secrets" / ".gitignore").read_text().splitlines() == ["*", "!.gitignore"]


def test_the_same_version_of_uv_makes_the_image_and_the_machine():
    (wanted,) = re.findall(r"UV_VERSION=(\S+)", (INFRA / "bootstrap.sh").read_text())
    assert f"uv=={wanted}" in (INFRA / "Dockerfile").read_text()
