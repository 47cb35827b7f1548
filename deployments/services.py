"""What the embedded instance consists of: four services, their commands, their surroundings, their signs of life."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from deployments import embedded_postgres
from deployments.processes import LOOPBACK, free_port, listens
from minutier.errors import BadInputError
from storage.dev_crl import CRL_PATH
from storage.settings import Settings

WORK_POOL = "minutier"
_WORKER = "worker"
# Nothing that runs here may report to anyone.
SILENCE = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
}


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep alive. `ready` gives None when it does its work, else the reason why not yet."""

    name: str
    address: str
    port: int | None
    command: list[str]
    environment: dict[str, str]
    """Added to the starter's variables when `inherits`, alone otherwise."""
    directory: Path
    ready: Callable[[], str | None]
    prepare: Callable[[], None] = lambda: None
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    inherits: bool = True
    patience: float = 15.0
    """Seconds from the stop signal to the kill."""

    def full_environment(self) -> dict[str, str]:
        """Give the variables of the process; Prefect's in the caller's environment belong to another server."""
        if not self.inherits:
            return self.environment
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return own | {"PYTHONUNBUFFERED": "1"} | self.environment


def names(settings: Settings) -> list[str]:
    """Give the services that this instance runs itself, in the order of their start."""
    engine = settings.prefect_api_url is None
    wanted = {
        "postgresql": settings.database_url is None or engine,
        "tsa": settings.tsa_urls is None,
        "prefect": engine,
    }
    workers = [_WORKER, *(f"{_WORKER}-{number}" for number in range(2, settings.workers + 1))]
    return [name for name, here in wanted.items() if here] + (workers if engine else [])


def choose_ports(settings: Settings, before: Mapping[str, int], kept: Mapping[str, int]) -> dict[str, int]:
    """Give each service its port: that of a living process, else the one it had before if free, else a free one."""
    ports = dict(kept)
    for name in names(settings):
        if name not in ports and has_port(name):
            ports[name] = free_port(f"{settings.home} {name}", before.get(name), list(ports.values()))
    return ports


def build(settings: Settings, ports: Mapping[str, int]) -> list[Service]:
    """Give the services of the instance, those that others need first."""
    makers = {"postgresql": _postgresql, "tsa": _tsa, "prefect": _prefect}
    return [
        makers[name](settings, ports) if has_port(name) else _worker(settings, ports, name) for name in names(settings)
    ]


def has_port(name: str) -> bool:
    """Say whether a service listens: workers only ask."""
    return not name.startswith(_WORKER)


def connected(settings: Settings, ports: Mapping[str, int]) -> Settings:
    """Give the settings with the address of every embedded service in place of None."""
    found: dict[str, object] = {}
    if settings.database_url is None:
        found["database_url"] = embedded_postgres.url(settings.home, ports["postgresql"], "minutier")
    if settings.tsa_urls is None:
        found["tsa_urls"] = (f"http://{LOOPBACK}:{ports['tsa']}/",)
        # Its port may change, so its certificate names no address.
        found["crls"] = (*settings.crls, f"http://{LOOPBACK}:{ports['tsa']}{CRL_PATH}")
    if settings.prefect_api_url is None:
        found["prefect_api_url"] = f"http://{LOOPBACK}:{ports['prefect']}/api"
    return settings.model_copy(update=found)


def client_environment(settings: Settings) -> dict[str, str]:
    """Give the variables with which Prefect's client finds its server; `settings` come from `connected`."""
    environment = {
        **SILENCE,
        "PREFECT_API_URL": settings.prefect_api_url or "",
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "NO_PROXY": _no_proxy(),
        "no_proxy": _no_proxy(),
    }
    if auth := _auth(settings):
        environment["PREFECT_API_AUTH_STRING"] = auth
    return environment


def prefect_ready(settings: Settings) -> str | None:
    """Ask the Prefect server whether it and its database answer."""
    return _ask(settings, "GET", "/ready", lambda answer: None if answer.get("message") == "OK" else str(answer))


def _postgresql(settings: Settings, ports: Mapping[str, int]) -> Service:
    home, port = settings.home, ports["postgresql"]
    return Service(
        name="postgresql",
        address=f"postgresql://{LOOPBACK}:{port}/minutier",
        port=port,
        command=embedded_postgres.command(home, port),
        environment=embedded_postgres.environment(),
        inherits=False,
        directory=embedded_postgres.cluster(home).parent,
        prepare=lambda: embedded_postgres.prepare(home),
        ready=lambda: embedded_postgres.ready(home, port),
        stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
        patience=30.0,
    )


def _tsa(settings: Settings, ports: Mapping[str, int]) -> Service:
    port = ports["tsa"]
    return Service(
        name="tsa",
        address=f"http://{LOOPBACK}:{port}/",
        port=port,
        command=_python("storage.dev_tsa", "--home", str(settings.home), "--port", str(port)),
        environment=dict(SILENCE),
        directory=settings.home,
        ready=lambda: None if listens(port) else "it does not listen yet",
    )


def _prefect(settings: Settings, ports: Mapping[str, int]) -> Service:
    port, complete = ports["prefect"], connected(settings, ports)
    origin = f"http://{LOOPBACK}:{port}"
    database = embedded_postgres.url(settings.home, ports["postgresql"], "prefect", driver="asyncpg")
    environment = client_environment(complete) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
        # Pages of other origins may not start flows on this machine.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        # The history of runs is not the journal: it does not grow for ever.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
    }
    if auth := _auth(settings):
        environment["PREFECT_SERVER_API_AUTH_STRING"] = auth
    return Service(
        name="prefect",
        address=origin,
        port=port,
        command=_python("prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)),
        environment=environment,
        directory=settings.home / "prefect",
        ready=lambda: prefect_ready(complete),
        needs=("postgresql",),
    )


def _worker(settings: Settings, ports: Mapping[str, int], name: str) -> Service:
    complete, directory = connected(settings, ports), settings.home / "tmp" / name
    member = name.replace(_WORKER, "embedded")
    environment = client_environment(complete) | {
        "MINUTIER_HOME": str(settings.home),
        "MINUTIER_DATABASE_URL": complete.database_url or "",
        "MINUTIER_TSA_URLS": ",".join(complete.tsa_urls or ()),
        "MINUTIER_CRLS": ",".join(complete.crls),
        # Prefect shares one directory of the machine's temporary one between all its users; documents do not go there.
        "TMPDIR": str(directory),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; shows which runs died with their process
    }

    def ready() -> str | None:
        def online(answer: list[dict[str, str]]) -> str | None:
            joined = any(each["name"] == member and each["status"] == "ONLINE" for each in answer)
            return None if joined else "it has not joined its pool yet"

        return _ask(complete, "POST", f"/work_pools/{WORK_POOL}/workers/filter", online)

    return Service(
        name=name,
        address=f"work pool {WORK_POOL}",
        port=None,
        # The pool is made by its first worker.
        command=_python("prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", member),
        environment=environment,
        directory=settings.home / "prefect",
        prepare=lambda: _make_empty(directory),
        ready=ready,
        needs=("postgresql", "prefect"),
        patience=30.0,
    )


def _ask(settings: Settings, method: str, path: str, judge: Callable[..., str | None]) -> str | None:
    """Put one question to the Prefect API; give what `judge` says of the answer, or why there is none."""
    url = f"{settings.prefect_api_url}{path}"
    auth = httpx.BasicAuth(*secret.split(":", 1)) if (secret := _auth(settings)) else None
    try:
        with httpx.Client(trust_env=False, timeout=5.0, auth=auth) as client:
            answer = client.request(method, url, json={} if method == "POST" else None)
        return judge(answer.json()) if answer.status_code == httpx.codes.OK else f"HTTP status {answer.status_code}"
    except (httpx.HTTPError, ValueError) as error:
        return str(error) or type(error).__name__


def _auth(settings: Settings) -> str | None:
    path = settings.prefect_auth_file
    if path is None:
        return None
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInputError(
            "SECRET_UNREADABLE", f"prefect_auth_file cannot be read: {error}.", remedy="Give an existing file."
        ) from error
    if ":" not in secret:
        raise BadInputError(
            "SECRET_INVALID", f"{path} must hold one line user:password.", remedy="Write that line into it."
        )
    return secret


def _make_empty(directory: Path) -> None:
    """Drop what killed runs have left."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _python(module: str, *arguments: str) -> list[str]:
    """Give the command of a module in this environment; -P keeps the current directory out of the imports."""
    return [sys.executable, "-P", "-m", module, *arguments]


def _no_proxy() -> str:
    others = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return ",".join(dict.fromkeys([LOOPBACK, "localhost", *filter(None, others.split(","))]))


def without_password(url: str) -> str:
    """Give a URL that may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url.split("?", 1)[0]
    return parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}", query="").geturl()
