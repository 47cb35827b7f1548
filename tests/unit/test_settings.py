"""Settings come from one file and one mapping, and nothing unknown passes."""

from pathlib import Path

import pytest

from deployments.services import connected
from minutier.errors import BadInputError
from storage.bootstrap import revocation_source
from storage.settings import Settings, home_directory, load_settings


def refusal(home: Path, text: str = "", **variables: str) -> BadInputError:
    (home / "minutier.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        load_settings(home, variables)
    assert caught.value.remedy
    return caught.value


def test_an_empty_home_is_the_embedded_instance(tmp_path):
    found = load_settings(tmp_path, {})
    assert (found.database_url, found.tsa_urls, found.prefect_api_url) == (None, None, None)
    assert found.replicas == (f"dir:{tmp_path}/replicas/a", f"dir:{tmp_path}/replicas/b")
    assert found.trust_dir == tmp_path / "trust"
    assert (found.staging_days, found.max_document_bytes, found.time_zone) == (7, 2**30, "Europe/Paris")


def test_settings_are_frozen(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load_settings(tmp_path, {}).staging_days = 1


def test_variables_override_the_file(tmp_path):
    (tmp_path / "minutier.toml").write_text('staging_days = 3\nclamd = "127.0.0.1:3310"\n')
    found = load_settings(tmp_path, {"MINUTIER_STAGING_DAYS": "9"})
    assert (found.staging_days, found.clamd) == (9, "127.0.0.1:3310")


def test_an_empty_variable_leaves_the_file_in_force(tmp_path):
    (tmp_path / "minutier.toml").write_text("staging_days = 3\n")
    assert load_settings(tmp_path, {"MINUTIER_STAGING_DAYS": " "}).staging_days == 3


def test_lists_are_separated_by_commas(tmp_path):
    found = load_settings(
        tmp_path,
        {
            "MINUTIER_REPLICAS": "dir:a, s3+https://store.example:9000/archive",
            "MINUTIER_REPLICA_CREDENTIALS": ",/etc/minutier/s3",
            "MINUTIER_TSA_URLS": "https://a.example/tsa,https://b.example/tsa",
        },
    )
    assert found.replicas == (f"dir:{tmp_path}/a", "s3+https://store.example:9000/archive")
    assert found.replica_credentials == (None, Path("/etc/minutier/s3"))
    assert found.tsa_urls == ("https://a.example/tsa", "https://b.example/tsa")


def test_lists_of_authorities_are_files_of_the_home_or_addresses(tmp_path):
    found = load_settings(
        tmp_path,
        {"MINUTIER_CRLS": "tsa.crl,/etc/x.crl,http://a.example/l", "MINUTIER_REVOCATION_HOSTS": "crl.intranet"},
    )
    assert found.crls == (f"{tmp_path}/tsa.crl", "/etc/x.crl", "http://a.example/l")
    assert found.revocation_hosts == ("crl.intranet",)
    source = revocation_source(found.model_copy(update={"tsa_urls": ("https://tsa.example:8443/q",)}))
    assert source.lists == found.crls
    assert source.hosts == {"crl.intranet", "a.example", "tsa.example"}


def test_the_embedded_authority_s_list_is_asked_beside_those_of_the_settings(tmp_path):
    ports = {"postgresql": 1, "tsa": 2, "prefect": 3}
    (tmp_path / "minutier.toml").write_text('crls = ["own.crl"]\n')
    found = connected(load_settings(tmp_path, {}), ports)
    assert found.crls == (f"{tmp_path}/own.crl", "http://127.0.0.1:2/root.crl")
    # The worker reads them back from its environment.
    assert load_settings(tmp_path, {"MINUTIER_CRLS": ",".join(found.crls)}).crls == found.crls
    elsewhere = load_settings(tmp_path, {"MINUTIER_TSA_URLS": "https://tsa.example/q"})
    assert connected(elsewhere, ports).crls == (f"{tmp_path}/own.crl",)


def test_prefect_s_own_variable_is_read(tmp_path):
    found = load_settings(tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:4200/api"})
    assert found.prefect_api_url == "http://127.0.0.1:4200/api"


def test_relative_places_are_in_the_home(tmp_path):
    (tmp_path / "minutier.toml").write_text('trust_dir = "anchors"\nprefect_auth_file = "secrets/auth"\n')
    found = load_settings(tmp_path, {})
    assert found.trust_dir == tmp_path / "anchors"
    assert found.prefect_auth_file == tmp_path / "secrets" / "auth"


@pytest.mark.parametrize(
    "variable",
    ["MINUTIER_HOME", "MINUTIER_MINIO", "MINUTIER_CORPUS", "MINUTIER_TEST_SEED", "PATH", "PREFECT_HOME"],
)
def test_variables_of_others_are_left_alone(tmp_path, variable):
    assert load_settings(tmp_path, {variable: "x"}) == load_settings(tmp_path, {})


def test_an_unknown_key_names_the_nearest_known_one(tmp_path):
    error = refusal(tmp_path, "staging_day = 3\n")
    assert error.code == "SETTING_UNKNOWN"
    assert "staging_day " in error.message
    assert "staging_days" in error.remedy


def test_an_unknown_variable_names_the_nearest_known_one(tmp_path):
    error = refusal(tmp_path, MINUTIER_REPLICA="dir:/a")
    assert "MINUTIER_REPLICA " in error.message
    assert "MINUTIER_REPLICAS" in error.remedy


def test_the_home_is_no_key_of_its_own_file(tmp_path):
    assert refusal(tmp_path, 'home = "/elsewhere"\n').code == "SETTING_UNKNOWN"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MINUTIER_REPLICAS", "ftp://a/b"),
        ("MINUTIER_REPLICAS", "dir:"),
        ("MINUTIER_REPLICAS", "dir:/a,dir:/a"),
        ("MINUTIER_REPLICAS", "s3+https://store.example:9000/archive"),
        ("MINUTIER_REPLICAS", "s3+https://store.example/bucket.with.dots"),
        ("MINUTIER_REPLICAS", "s3+https://user:secret@store.example/archive"),
        ("MINUTIER_REPLICA_CREDENTIALS", "/a,/b,/c"),
        ("MINUTIER_DATABASE_URL", "sqlite:///x"),
        ("MINUTIER_TSA_URLS", "tsa.example"),
        ("MINUTIER_SUPERVISION_URL", "file:///x"),
        ("MINUTIER_STAGING_DAYS", "0"),
        ("MINUTIER_STAGING_DAYS", "seven"),
        ("MINUTIER_MAX_DOCUMENT_BYTES", "-1"),
        ("MINUTIER_TIME_ZONE", "Europe/Atlantis"),
        ("MINUTIER_TIME_ZONE", "../zone"),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path, variable, value):
    error = refusal(tmp_path, **{variable: value})
    assert error.code == "SETTING_INVALID"
    assert variable.removeprefix("MINUTIER_").lower()[:7] in (error.message + error.remedy).lower()


@pytest.mark.parametrize("text", ["staging_days = ", "\0", "a = 1\na = 2\n"])
def test_a_file_that_is_not_toml_is_refused(tmp_path, text):
    assert refusal(tmp_path, text).code == "SETTINGS_UNREADABLE"


def test_a_database_url_is_not_shown(tmp_path):
    found = load_settings(tmp_path, {"MINUTIER_DATABASE_URL": "postgresql://minutier:secret@127.0.0.1/minutier"})
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MINUTIER_HOME": "/srv/archive", "XDG_DATA_HOME": "/data"}, "/srv/archive"),
        ({"XDG_DATA_HOME": "/data", "HOME": "/users/me"}, "/data/minutier"),
        ({"HOME": "/users/me"}, "/users/me/.local/share/minutier"),
    ],
)
def test_the_home_is_found_in_this_order(environ, expected):
    assert home_directory(None, environ) == Path(expected)
    assert home_directory(Path("/given"), environ) == Path("/given")


def test_a_dump_builds_the_same_settings(tmp_path):
    found = load_settings(tmp_path, {"MINUTIER_REPLICAS": "dir:a,dir:b"})
    assert Settings.model_validate(found.model_dump(mode="json")) == found
