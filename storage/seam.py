"""The one point that every call to a port passes, before and after: object stores, database, files, keys, signer, TSA.

Nothing happens there in normal life. A hook installed there sees each call and may break it: what it raises before
keeps the call from being made, what it raises after hides that it was made; it may also end the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import count
from typing import Any, Concatenate, ParamSpec, TypeVar

BEFORE, AFTER = "before", "after"

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Store = TypeVar("_Store")

_STORE_ACTS = (
    *("put", "versions", "list_objects", "open", "lock_state", "extend_lock", "delete_version"),
    *("suspend_versioning", "shorten_lock", "downgrade_lock", "delete_with_bypass", "clock"),
    *("list_markers", "settings"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a port at one of its two moments; both moments have the same number.

    `number` counts from 0 since the hook was installed. `port` is the name of a replica, or `database`, `files`,
    `encryption`, `signer`, `tsa`. `key` says what it is about ("" where there is nothing to say).
    """

    number: int
    port: str
    act: str
    key: str
    moment: str


Hook = Callable[[Call], None]


class _Installed:
    def __init__(self, hook: Hook) -> None:
        self.hook, self.numbers = hook, count()


_installed: _Installed | None = None


def install(hook: Hook | None) -> None:
    """Let `hook` see every call of this process from now on, in any thread; None takes it away."""
    global _installed  # noqa: PLW0603 - the seam is one for the process, as its death is
    _installed = None if hook is None else _Installed(hook)


@contextmanager
def installed(hook: Hook) -> Iterator[None]:
    """Install a hook for the length of a block, then put back what was there before."""
    global _installed  # noqa: PLW0603
    before, _installed = _installed, _Installed(hook)
    try:
        yield
    finally:
        _installed = before


@contextmanager
def crossing(port: str, act: str, key: str = "") -> Iterator[None]:
    """Pass the seam around one call, made in the block. A call that fails by itself has no moment after."""
    known = _installed
    if known is None:
        yield
        return
    number = next(known.numbers)
    known.hook(Call(number, port, act, key, BEFORE))
    yield
    known.hook(Call(number, port, act, key, AFTER))


def store(kind: type[_Store]) -> type[_Store]:
    """Class decorator for an adapter of `ObjectStore`: every method of the port passes the seam.

    What a method gives to be read later (`open`, `list_objects`) is past the seam when it is given.
    """
    for act in _STORE_ACTS:
        setattr(kind, act, _crossed(getattr(kind, act), act))
    return kind


def _crossed(method: Callable[Concatenate[Any, _P], _R], act: str) -> Callable[Concatenate[Any, _P], _R]:
    @wraps(method)
    def call(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if _installed is None:
            return method(self, *args, **kwargs)
        key = args[0] if args and isinstance(args[0], str) else ""
        with crossing(self.name, act, key):
            return method(self, *args, **kwargs)

    return call
