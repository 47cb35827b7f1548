"""Canonical JSON (RFC 8785) restricted to strings, integers, lists and objects.

Numbers that are not safe integers, booleans and null have more than one spelling across tools; leaving them out makes
one value have exactly one sequence of bytes. What is signed is stored and never serialised again.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TypeAlias

Value: TypeAlias = "str | int | list[Any] | dict[str, Any]"

_SAFE_INTEGER = 2**53 - 1
_MAX_DEPTH = 32
_quoted = json.JSONEncoder(ensure_ascii=False).encode  # of a string; made once: `json.dumps` makes one at each call


def encode(value: Value) -> bytes:
    """Give the canonical UTF-8 bytes of `value`; ValueError on a type or number outside the restriction."""
    _check(value, 0)
    return _encode(value).encode("utf-8")


def decode(data: bytes) -> Any:
    """Read canonical bytes; ValueError unless `data` is exactly what `encode` would write."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
        canonical = encode(value)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    if canonical != data:
        raise ValueError("not in canonical form (RFC 8785)")
    return value


def strict_base64(text: str | bytes) -> bytes:
    """Read base64 (RFC 4648 §4); ValueError for any spelling but the one that is written."""
    data = text.encode("ascii") if isinstance(text, str) else text
    raw = base64.b64decode(data, validate=True)
    if base64.b64encode(raw) != data:
        raise ValueError("its base64 has another spelling")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names the same member twice")
    return result


def _check(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("too deeply nested")
    if isinstance(value, str):
        value.encode("utf-8")  # lone surrogates have no UTF-8 form
    elif isinstance(value, bool) or not isinstance(value, int | list | dict):
        raise ValueError(f"{type(value).__name__} is not allowed: strings, integers, lists and objects only")
    elif isinstance(value, int):
        if abs(value) > _SAFE_INTEGER:
            raise ValueError("integer outside ±(2^53 - 1)")
    else:
        for key in value if isinstance(value, dict) else ():
            if not isinstance(key, str):
                raise ValueError("member names are strings")
            key.encode("utf-8")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth + 1)


def _encode(value: Any) -> str:
    if isinstance(value, dict):
        # RFC 8785 §3.2.3: names are sorted by their UTF-16 code units.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_quoted(n)}:{_encode(value[n])}" for n in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_encode(item) for item in value) + "]"
    if isinstance(value, int):
        return str(value)
    return _quoted(value)
