"""Beneath the S3 store: its credentials, its connections that compare clocks at each answer, the body of an answer."""

from __future__ import annotations

import configparser
import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.exceptions import HTTPError

from minutier.errors import BadInputError, ServiceUnavailableError
from storage.whole_answers import WHOLE_ANSWERS

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 5.0
_STALE_SECONDS = 60.0


class ClockedPool(urllib3.PoolManager):
    """Connections to one store. `gap`: seconds by which the `Date` of its last answer is ahead of our clock.

    The header has whole seconds, and our clock is read before and after: 0 when both can be the same moment. Only a
    refused connection is tried again. An answer that was cut inside its headers is none.
    """

    def __init__(self, timeout: float, clock: Callable[[], datetime]) -> None:
        super().__init__(
            maxsize=4,
            cert_reqs="CERT_REQUIRED",
            timeout=urllib3.Timeout(connect=min(timeout, CONNECT_SECONDS), read=timeout),
            retries=urllib3.Retry(
                total=2,
                connect=2,
                read=0,
                redirect=0,
                status=0,
                other=0,
                backoff_factor=0.2,
                respect_retry_after_header=False,
            ),
        )
        self.pool_classes_by_scheme = WHOLE_ANSWERS
        self._clock = clock
        self._seen = 0.0
        self._gap = 0.0

    @property
    def gap(self) -> float:
        """Give the gap of the last answer, 0 when that was more than a minute ago: a clock may have been set since."""
        return self._gap if time.monotonic() - self._seen < _STALE_SECONDS else 0.0

    def urlopen(self, method: str, url: str, redirect: bool = True, **more: Any) -> BaseHTTPResponse:  # type: ignore[override]
        """Send a request as urllib3 does, and note the time that the answer says."""
        sent = self._clock()
        answer = super().urlopen(method, url, redirect, **more)
        said = date_of(answer)
        if said is not None:
            ahead, behind = (said - self._clock()).total_seconds(), (sent - said).total_seconds() - 1
            self._gap = ahead if ahead > 0 else -behind if behind > 0 else 0.0
            self._seen = time.monotonic()
        return answer


def date_of(answer: BaseHTTPResponse) -> datetime | None:
    """Give the `Date` header of an answer, None when there is none that can be read."""
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
    except ValueError:
        return None


class Body(io.RawIOBase):
    """The body of an answer, read in order; `lost` words what cuts it off."""

    def __init__(self, answer: BaseHTTPResponse, lost: Callable[[Exception], ServiceUnavailableError]) -> None:
        super().__init__()
        self._answer, self._lost = answer, lost

    def readable(self) -> bool:
        """Say that it can be read; it can do nothing else."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer as far as the body goes; gives how many bytes came."""
        room = memoryview(buffer).cast("B")
        try:
            piece = self._answer.read(len(room))
        except HTTPError as error:
            raise self._lost(error) from error
        room[: len(piece)] = piece
        return len(piece)


def credentials(path: Path) -> dict[str, str]:
    """Read an AWS shared credentials file, section `default`; BadInputError (`CREDENTIALS_FILE`)."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text("utf-8"))
        section = dict(parser["default"])
        if section["aws_access_key_id"] and section["aws_secret_access_key"]:
            return section
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        pass
    # The cause is left out of the error: a parser quotes the line it stumbles on, which may be the secret.
    raise BadInputError(
        "CREDENTIALS_FILE",
        f"The credentials file {path} cannot be used.",
        remedy="Write a [default] section with aws_access_key_id and aws_secret_access_key, readable by this user.",
    )


def another_time(store: str, gap: float) -> ServiceUnavailableError:
    """Make the error that stops writes, locks and deletions on a store whose clock is not ours."""
    side = "ahead of" if gap > 0 else "behind"
    return ServiceUnavailableError(
        "STORE_CLOCK",
        f"The store {store} is {timedelta(seconds=round(abs(gap)))} {side} this machine: locks rest on its clock.",
        remedy="Set both clocks by NTP. Deposits and destructions wait and lose nothing; reading goes on.",
    )
