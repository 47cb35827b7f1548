"""The services of an embedded instance: which there are, and what keeps several workers apart."""

from deployments import services
from storage.settings import load_settings

PORTS = {"postgresql": 5001, "tsa": 5002, "prefect": 5003}


def test_each_worker_has_a_name_and_a_place_of_its_own(tmp_path):
    settings = load_settings(tmp_path, {"MINUTIER_WORKERS": "3"})
    assert services.names(settings) == ["postgresql", "tsa", "prefect", "worker", "worker-2", "worker-3"]
    workers = [each for each in services.build(settings, PORTS) if not services.has_port(each.name)]
    assert [each.command[each.command.index("--name") + 1] for each in workers] == [
        "embedded", "embedded-2", "embedded-3",
    ]  # fmt: skip
    assert len({each.environment["TMPDIR"] for each in workers}) == 3
    for each in workers:
        each.prepare()
    assert all((tmp_path / "tmp" / each.name).is_dir() for each in workers)


def test_another_prefect_server_brings_its_own_workers(tmp_path):
    settings = load_settings(tmp_path, {"MINUTIER_WORKERS": "2", "MINUTIER_PREFECT_API_URL": "http://127.0.0.1:1/api"})
    assert services.names(settings) == ["postgresql", "tsa"]
