"""What goes into a proof for people: the script for openssl and coreutils, and a page in French and in English.

The texts are files beside this module (`kit_files/`), so that they can be read, and the script run, as they are.
"""

from __future__ import annotations

from importlib import resources


def _text(name: str) -> str:
    return resources.files("minutier").joinpath("kit_files", name).read_text(encoding="utf-8")


VERIFY_SH = _text("verify.sh")
README_FR = _text("README.fr.txt")
README_EN = _text("README.en.txt")
