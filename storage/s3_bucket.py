"""What a bucket is told to do by itself: versioning, default lock, lifecycle rules, policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from minio import Minio
from minio.error import S3Error

from storage.ports import StoreSettings

_Value = TypeVar("_Value")
_MAY_NOT_LOOK = {"AccessDenied", "NotImplemented", "MethodNotAllowed", "XNotImplemented"}
_NONE_SET = {"NoSuchBucketPolicy", "ObjectLockConfigurationNotFoundError"}


def read_settings(client: Minio, bucket: str) -> StoreSettings:
    """Read the settings of a bucket; S3Error, except for what the key may not look at."""
    return StoreSettings(
        versioning=_asked(lambda: client.get_bucket_versioning(bucket).status == "Enabled", none=False),
        default_lock=_asked(lambda: _default_lock(client, bucket), none=""),
        lifecycle=_asked(lambda: _lifecycle(client, bucket), none=tuple[str, ...]()),
        policy=_asked(lambda: client.get_bucket_policy(bucket), none=""),
    )


def _asked(ask: Callable[[], _Value], *, none: _Value) -> _Value | None:
    try:
        return ask()
    except S3Error as error:
        if error.code in _NONE_SET:
            return none
        if error.code in _MAY_NOT_LOOK:
            return None
        raise


def _default_lock(client: Minio, bucket: str) -> str:
    found = client.get_object_lock_config(bucket)
    if found.mode is None or found.duration is None:
        return ""
    days = found.duration * (1 if str(found.duration_unit).upper() == "DAYS" else 365)
    return f"{found.mode} {days}"


def _lifecycle(client: Minio, bucket: str) -> tuple[str, ...]:
    found = client.get_bucket_lifecycle(bucket)
    return tuple(f"{rule.rule_id or 'unnamed'} ({rule.status})" for rule in found.rules) if found else ()
