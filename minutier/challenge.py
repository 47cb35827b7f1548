"""Challenges of the supervision and the archive's answers (docs/format/challenge-v1.md)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minutier import canonical
from minutier.errors import IntegrityFailureError
from minutier.events import format_time, parse_time
from minutier.identifiers import is_archive_id

CHALLENGE_FORMAT, ANSWER_FORMAT = "minutier-challenge/1", "minutier-challenge-answer/1"
MAX_BYTES = 64 << 10
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS = {"format", "number", "archive_id", "nonce", "at"}


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the supervision asks: read the copies of this document with this nonce (64 hexadecimal characters)."""

    number: int
    archive_id: str
    nonce: str
    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class CopyAnswer:
    """What one replica answered: size in bytes, digests in hexadecimal; 0 and empty for a copy that is not there."""

    replica: str
    size: int = 0
    sha256: str = ""
    answer: str = ""

    @property
    def gone(self) -> bool:
        """Say whether the replica does not have the copy."""
        return not self.sha256


@dataclass(frozen=True, slots=True)
class Answer:
    """What an archive answered to a challenge."""

    number: int
    archive_id: str
    nonce: str
    copies: tuple[CopyAnswer, ...]
    at: datetime


def encode_challenge(challenge: Challenge) -> bytes:
    """Write a challenge."""
    return canonical.encode(
        {
            "format": CHALLENGE_FORMAT,
            "number": challenge.number,
            "archive_id": challenge.archive_id,
            "nonce": challenge.nonce,
            "at": format_time(challenge.at),
            "until": format_time(challenge.until),
        }
    )


def decode_challenge(data: bytes) -> Challenge:
    """Read a challenge; ValueError."""
    value = _members(data, CHALLENGE_FORMAT, _MEMBERS | {"until"})
    return Challenge(
        value["number"], value["archive_id"], value["nonce"], parse_time(value["at"]), parse_time(value["until"])
    )


def encode_answer(
    challenge: Challenge, copies: Sequence[CopyAnswer], at: datetime, sign: Callable[[bytes], bytes]
) -> bytes:
    """Write an answer; `sign` gives the Ed25519 signature of the journal's key over the line of the head."""
    line = canonical.encode(
        {
            "format": ANSWER_FORMAT,
            "number": challenge.number,
            "archive_id": challenge.archive_id,
            "nonce": challenge.nonce,
            "copies": [
                {"replica": each.replica, "size": each.size, "sha256": each.sha256, "answer": each.answer}
                for each in copies
            ],
            "at": format_time(at),
        }
    )
    return line + b"\n" + base64.b64encode(sign(line)) + b"\n"


def decode_answer(data: bytes, key: Ed25519PublicKey) -> Answer:
    """Read an answer: its form, then its signature.

    Raises IntegrityFailureError (`CHALLENGE_FORMAT`, `CHALLENGE_SIGNATURE`).
    """
    try:
        if len(data) > MAX_BYTES:
            raise ValueError("it is too large")
        line, signature, rest = data.split(b"\n")
        if rest:
            raise ValueError("it does not end with a whole line")
        answer = _answer(_members(line, ANSWER_FORMAT, _MEMBERS | {"copies"}))
    except (ValueError, KeyError, TypeError) as error:
        raise refused("CHALLENGE_FORMAT", str(error)) from error
    try:
        key.verify(canonical.strict_base64(signature), line)
    except (InvalidSignature, ValueError) as error:
        raise refused("CHALLENGE_SIGNATURE", "the key of this archive did not sign it") from error
    return answer


def _members(data: bytes, form: str, members: set[str]) -> dict[str, Any]:
    value = canonical.decode(data)
    if not isinstance(value, dict) or set(value) != members or value["format"] != form:
        raise ValueError(f"it is not one of {form}")
    if type(value["number"]) is not int or value["number"] < 1:
        raise ValueError("its number is not one")
    if not isinstance(value["archive_id"], str) or not is_archive_id(value["archive_id"]):
        raise ValueError("its document is not named")
    if not isinstance(value["nonce"], str) or not _DIGEST.fullmatch(value["nonce"]):
        raise ValueError("its nonce is not one")
    return value


def _answer(value: dict[str, Any]) -> Answer:
    if not isinstance(value["copies"], list):
        raise ValueError("its copies are not a list")
    copies = tuple(_copy(each) for each in value["copies"])
    return Answer(value["number"], value["archive_id"], value["nonce"], copies, parse_time(value["at"]))


def _copy(value: Any) -> CopyAnswer:
    if not isinstance(value, dict) or set(value) != {"replica", "size", "sha256", "answer"}:
        raise ValueError("a copy has other members")
    if type(value["size"]) is not int or value["size"] < 0 or not isinstance(value["replica"], str):
        raise ValueError("size or replica of a copy is not one")
    there = [isinstance(value[name], str) and bool(_DIGEST.fullmatch(value[name])) for name in ("sha256", "answer")]
    if not all(there) and (value["sha256"], value["answer"], value["size"]) != ("", "", 0):
        raise ValueError("a digest of a copy is not one")
    return CopyAnswer(value["replica"], value["size"], value["sha256"], value["answer"])


def refused(code: str, reason: str) -> IntegrityFailureError:
    """Make the error for an answer that does not hold: `CHALLENGE_…` and why."""
    return IntegrityFailureError(
        code,
        f"The answer to the challenge does not hold: {reason}.",
        remedy="Run `minutier check` on the document, then `minutier sweep`, and keep both replicas as they are.",
        clause="docs/format/challenge-v1.md §3",
    )
