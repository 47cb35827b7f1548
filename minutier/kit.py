"""What goes into a proof for people: two scripts that check it, and a page in French and in English.

`verify.sh` needs openssl and coreutils, `verify.py` openssl and the standard library of Python 3.8 or later.

The texts are files beside this module (`kit_files/`), so that they can be read, and the script run, as they are.
Nothing signs them, and a reader runs or believes them: a proof may hold no other than those that were published. Their
SHA-256 are in `kit_files/published.txt`, where a new text is added and no old one is removed.
"""

from __future__ import annotations

import hashlib
from importlib import resources


def _text(name: str) -> str:
    return resources.files("minutier").joinpath("kit_files", name).read_text(encoding="utf-8")


VERIFY_SH = _text("verify.sh")
VERIFY_PY = _text("verify.py")
README_FR = _text("README.fr.txt")
README_EN = _text("README.en.txt")
_PUBLISHED = frozenset(tuple(line.split()) for line in _text("published.txt").splitlines())


def is_published(name: str, data: bytes) -> bool:
    """Say whether `data` is a text that was published under this name (one of those above)."""
    return (hashlib.sha256(data).hexdigest(), name) in _PUBLISHED
