"""The PRONOM identifier of a format, by FIDO: recorded for whoever migrates formats one day, and judged by nobody.

Our own reading says which format a document is; FIDO says which version of it, among the signatures of that format
alone. It runs in the isolated child, for it parses what anybody sent.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any

from tasks import formats
from tasks.formats import ACCEPTED, Format

_SIGNATURES = ["formats-v109.xml", "format_extensions.xml"]
_ZIP = "x-fmt/263"
# No signature tells text from other text: this is what our own reading found.
_PLAIN = {formats.TEXT: "x-fmt/111", formats.CSV: "x-fmt/18"}
_PACKAGES = (formats.DOCX, formats.ODT)


def known_without_reading(found: Format) -> str | None:
    """Give the identifier of a format that has no signature, None for one that FIDO can tell."""
    return _PLAIN.get(found)


def warm() -> None:
    """Read the signatures and compile them once, so that no document pays for it."""
    for each in ACCEPTED:
        if each not in _PLAIN:
            engine = _engine(each.name)
            for one in engine.formats:
                for signature in engine.get_signatures(one):
                    for pattern in engine.get_patterns(signature):
                        re.compile(engine.get_regex(pattern))


def identify(path: str, format_name: str) -> str:
    """Give the identifiers that the bytes match, with blanks between, "" for none; a mere extension is no match."""
    engine, found = _engine(format_name), list[str]()

    def keep(_path: str, matches: list[tuple[Any, str]], _seconds: float, kind: str = "") -> None:
        if kind in ("signature", "container"):
            found.extend(str(engine.get_puid(one)) for one, _ in matches)

    engine.handle_matches = keep
    engine.identify_file(path, extension=False)
    return " ".join(sorted(set(found) - ({_ZIP} if len(found) > 1 else set())))


@cache
def _all_signatures() -> Any:
    from fido.fido import Fido

    return Fido(quiet=True, format_files=_SIGNATURES)


@cache
def _engine(format_name: str) -> Any:
    """Give FIDO with the signatures of one format: those whose extensions are its own."""
    (wanted,) = [each for each in ACCEPTED if each.name == format_name]
    engine = copy.copy(_all_signatures())
    extensions = {each.removeprefix(".") for each in wanted.extensions}
    kept = [one for one in engine.formats if extensions & {each.text for each in one.findall("extension")}]
    if wanted in _PACKAGES:
        kept += [one for one in engine.formats if engine.get_puid(one) == _ZIP]
    engine.formats = kept
    return engine
