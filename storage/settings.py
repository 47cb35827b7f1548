"""Settings of one instance: the file `minutier.toml` of its home, overridden by `MINUTIER_*` variables.

The environment arrives as a mapping and is read nowhere else. Unknown keys are refused, secrets are paths of files,
and the value is frozen: a program that wants other settings builds another value.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from minutier.age import parse_recipient
from minutier.errors import BadInputError
from storage.blackouts import parse as parse_blackout

PREFIX = "MINUTIER_"
# Variables that share the prefix and are not settings: the home itself, and what builds, tests and measures use.
NOT_SETTINGS = re.compile(r"MINUTIER_(HOME|MINIO|CORPUS|TEST_\w+|BENCH_\w+)")
LISTS = ("replicas", "replica_credentials", "tsa_urls", "crls", "revocation_hosts", "bare_feeds",
         "inbox_buckets", "blackouts")  # fmt: skip
_HTTP = ("http://", "https://")
FILES = (
    "prefect_auth_file", "seal_certificate", "seal_key", "seal_passphrase_file", "seal_pkcs11_module", "seal_pin_file",
    "backup_dir", "supervision_key", "inbox_credentials", "alert_webhook_file",
)  # fmt: skip
_DEVICE = ("seal_pkcs11_module", "seal_pkcs11_token", "seal_pkcs11_label", "seal_pin_file")
REPLICA = re.compile(r"dir:.+|s3\+https?://[^/\s@]+/[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class Settings(BaseModel):
    """Everything an instance needs to know about its surroundings.

    `None` in `database_url`, `tsa_urls` and `prefect_api_url` means "the embedded one", which has no legal value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    database_url: str | None = Field(default=None, repr=False)
    """libpq URL; `passfile=` keeps the password out of it."""
    replicas: tuple[str, ...] = ()
    """`dir:PATH` or `s3+http(s)://HOST:PORT/BUCKET`, in order of preference for reading."""
    replica_credentials: tuple[Path | None, ...] = ()
    """One file per replica, aligned with `replicas`; None for a directory."""
    tsa_urls: tuple[str, ...] | None = None
    """RFC 3161 authorities, tried in this order."""
    crls: tuple[str, ...] = ()
    """Revocation lists of authorities whose certificates name none: files in DER, or http(s) addresses."""
    revocation_hosts: tuple[str, ...] = ()
    """Hosts that certificates may name for revocation data although their address is not public."""
    bare_feeds: tuple[str, ...] = ()
    """Feeds that also take folders without manifest, once nothing in them moved for ten minutes."""
    inbox_buckets: tuple[str, ...] = ()
    """`FEED=s3+http(s)://HOST:PORT/BUCKET`: what lies there is fetched to the feed's directory; answers go back."""
    inbox_credentials: Path | None = None
    """Credentials file for these buckets, as for a replica."""
    trust_dir: Path = Path()
    """Trust anchors: roots as `*.pem`, the journal's key as `journal.vkey`."""
    clamd: str | None = None
    """`HOST:PORT` or `unix:PATH` of the antivirus daemon."""
    supervision_url: str | None = None
    """Where legal traces go: the supervision's address, `/v1/archives/NAME` at the end."""
    supervision_key: Path | None = None
    """File of the key that the supervision cosigns with, its `witness.vkey`."""
    report_mail: str | None = None
    """Where the report of the morning goes: `smtp://HOST:PORT/TO@ADDRESS`, a relay that takes mail from here."""
    alert_webhook_file: Path | None = None
    """File with the address that Prefect calls when a run failed, is late, or did not come; it may hold a secret."""
    prefect_api_url: str | None = None
    prefect_auth_file: Path | None = None
    """File with the `user:password` of the Prefect API; None leaves that API open on the loopback interface."""
    seal_certificate: Path | None = None
    """The sealing certificate in PEM, then its issuers'; None seals with the development key of `pki/`."""
    seal_key: Path | None = None
    """File of the sealing key: ECDSA P-256 in PEM (PKCS#8), encrypted or not."""
    seal_passphrase_file: Path | None = None
    seal_pkcs11_module: Path | None = None
    """Library of the device that holds the sealing key, in the place of `seal_key`."""
    seal_pkcs11_token: str | None = None
    seal_pkcs11_label: str | None = None
    seal_pin_file: Path | None = None
    second_seal: Literal["none", "ml-dsa-65"] = "none"
    """A second, post-quantum seal in a file of its own (docs/format/seal-v1.md §4)."""
    escrow_recipient: str | None = None
    """age recipient that new safes get as their escrow: its private half is then never made here."""
    backup_dir: Path | None = None
    """Where backups of the embedded database go besides the home: a directory of another disk or machine."""
    backup_recipient: str | None = None
    """age recipient that they are encrypted to there; goes with `backup_dir`."""
    max_document_bytes: int = Field(default=2**30, ge=1, le=2**40)
    quarantine_days: int = Field(default=35, ge=1, le=3650)
    """Days that refused bytes wait for their depositor."""
    production: bool = False
    """Refuse to take deposits while a stand-in for trials is left: antivirus, seal, time-stamp, stores."""
    staging_days: int = Field(default=7, ge=1, le=90)
    """Days of the first lock, before the lock of the class replaces it."""
    workers: int = Field(default=1, ge=1, le=32)
    """Worker processes of the embedded work pool; they share nothing but the home, PostgreSQL and the stores."""
    time_zone: str = "Europe/Paris"
    blackouts: tuple[str, ...] = ()
    """Windows in which scheduled work that can wait a night does not begin (storage/blackouts.py)."""
    """Zone in which "off-peak" and end-of-retention days are counted."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_home(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Resolve relative paths against the home and give the defaults that depend on it."""
        home = Path(data["home"])
        filled = dict(data)
        filled["trust_dir"] = home / Path(data.get("trust_dir") or "trust").expanduser()
        replicas = tuple(data.get("replicas") or ("dir:replicas/a", "dir:replicas/b"))
        filled["replicas"] = tuple(_absolute_replica(home, str(replica)) for replica in replicas)
        credentials = tuple(data.get("replica_credentials") or ())
        aligned = credentials + ("",) * (len(replicas) - len(credentials))
        filled["crls"] = tuple(
            each if each.startswith(_HTTP) else str(home / Path(each).expanduser()) for each in data.get("crls") or ()
        )
        filled["replica_credentials"] = tuple(home / Path(each).expanduser() if each else None for each in aligned)
        for name in FILES:
            if named := data.get(name):
                filled[name] = home / Path(named).expanduser()
        return filled

    @field_validator("replicas")
    @classmethod
    def _known_replicas(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for replica in value:
            if not REPLICA.fullmatch(replica):
                raise ValueError(f"{replica!r} is neither dir:PATH nor s3+http(s)://HOST:PORT/BUCKET")
        if len(set(value)) != len(value):
            raise ValueError("the same replica is named twice: two copies must be two places")
        return value

    @field_validator("inbox_buckets")
    @classmethod
    def _known_inboxes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for inbox in value:
            feed, _, address = inbox.partition("=")
            if not feed or not address.startswith("s3+") or not REPLICA.fullmatch(address):
                raise ValueError(f"{inbox!r} is not FEED=s3+http(s)://HOST:PORT/BUCKET")
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("tsa_urls", "supervision_url", "prefect_api_url")
    @classmethod
    def _http(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        for url in (value,) if isinstance(value, str) else value or ():
            if not url.startswith(_HTTP):
                raise ValueError(f"{url!r} must start with http:// or https://")
        return value

    @field_validator("report_mail")
    @classmethod
    def _mail(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme != "smtp" or not parts.hostname or "@" not in unquote(parts.path):
                raise ValueError(f"{value!r} is not smtp://HOST:PORT/TO@ADDRESS")
        return value

    @field_validator("escrow_recipient", "backup_recipient")
    @classmethod
    def _recipient(cls, value: str | None) -> str | None:
        try:
            return str(parse_recipient(value)) if value is not None else None
        except BadInputError as error:
            raise ValueError(error.message) from error

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"{value!r} is not a time zone of this machine") from error
        return value

    @field_validator("blackouts")
    @classmethod
    def _windows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            parse_blackout(each)
        return value

    @model_validator(mode="after")
    def _credentials_match(self) -> Self:
        if len(self.replica_credentials) != len(self.replicas):
            raise ValueError("replica_credentials names more files than there are replicas")
        for replica, credentials in zip(self.replicas, self.replica_credentials, strict=True):
            if replica.startswith("s3+") and credentials is None:
                raise ValueError(f"{replica} needs a credentials file in replica_credentials, at the same place")
        return self

    @model_validator(mode="after")
    def _backups_encrypted(self) -> Self:
        if self.backup_dir is not None and self.backup_recipient is None:
            raise ValueError("backup_dir needs backup_recipient: the database leaves this machine only encrypted")
        return self

    @model_validator(mode="after")
    def _one_sealing_key(self) -> Self:
        """A key comes from one place, with its certificate."""
        device = [name for name in _DEVICE if getattr(self, name) is not None]
        if self.seal_key is not None and device:
            raise ValueError(f"seal_key and {device[0]} name two sealing keys: keep one")
        if device and len(device) != len(_DEVICE):
            missing = next(name for name in _DEVICE if name not in device)
            raise ValueError(f"{device[0]} is set and {missing} is not: a device needs {', '.join(_DEVICE)}")
        if self.seal_passphrase_file is not None and self.seal_key is None:
            raise ValueError("seal_passphrase_file is for the key of seal_key, which is not set")
        if (self.seal_certificate is None) == (self.seal_key is not None or bool(device)):
            raise ValueError("seal_certificate goes with seal_key or with a PKCS#11 device, and they with it")
        return self


def _absolute_replica(home: Path, replica: str) -> str:
    path = replica.removeprefix("dir:")
    return f"dir:{home / Path(path).expanduser()}" if path and path != replica else replica


def home_directory(home: Path | None, environ: Mapping[str, str]) -> Path:
    """Give the absolute home: the argument, else `$MINUTIER_HOME`, else the user's data directory."""
    if home is None and environ.get("MINUTIER_HOME"):
        home = Path(environ["MINUTIER_HOME"])
    if home is None:
        data = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or "~", ".local", "share")
        home = Path(data) / "minutier"
    return home.expanduser().absolute()


def load_settings(home: Path | None, environ: Mapping[str, str]) -> Settings:
    """Build the settings of the instance in `home` (see `home_directory`).

    Raises BadInputError for an unknown key or variable, naming the nearest known one, and for a value out of range.
    """
    place = home_directory(home, environ)
    values = _from_file(place / "minutier.toml")
    values.update(_from_variables(environ))
    try:
        return Settings.model_validate({"home": place, **values})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # A check of several fields names the first of them in its words.
        named = re.search(r"\b(seal_\w+|backup_dir|replica_credentials)\b", first["msg"])
        name = str(first["loc"][0]) if first["loc"] else named[1] if named else "replica_credentials"
        raise BadInputError(
            "SETTING_INVALID",
            f"Setting {name}: {first['msg'].removeprefix('Value error, ')}.",
            remedy=f"Correct it in {place / 'minutier.toml'} or in {PREFIX}{name.upper()}.",
        ) from error


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInputError(
            "SETTINGS_UNREADABLE", f"{path} may not be read: {error.strerror}.", remedy="Check the rights on the home."
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(
            "SETTINGS_UNREADABLE", f"{path} cannot be read as TOML: {error}.", remedy="Correct the file."
        ) from error
    for key in values:
        if key not in _keys():
            raise _unknown(key, str(path), _keys())
    return values


def _from_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {PREFIX + key.upper(): key for key in _keys()} | {"PREFECT_API_URL": "prefect_api_url"}
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        if variable not in known:
            if variable.startswith(PREFIX) and not NOT_SETTINGS.fullmatch(variable):
                raise _unknown(variable, "the environment", known)
            continue
        key = known[variable]
        if text.strip():
            values[key] = [part.strip() for part in text.split(",")] if key in LISTS else text.strip()
    return values


def _keys() -> list[str]:
    """Every setting one may give; the home is found before them."""
    return [name for name in Settings.model_fields if name != "home"]


def _unknown(key: str, where: str, known: list[str] | dict[str, str]) -> BadInputError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return BadInputError(
        "SETTING_UNKNOWN", f"{key} in {where} is not a setting.", remedy=f"Did you mean {near[0]}? Otherwise remove it."
    )
