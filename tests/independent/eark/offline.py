"""Runs the validator of the E-ARK foundation without the network: `python offline.py PACKAGE`, its report on stdout.

It fetches four vocabularies when it starts. They are given here: those that its own schema enumerates, and the terms of
the two others that a package of this archive may use. A term that is not here is refused: the judge is no milder.

And it looks for the children of an element when the element begins, where a parser that reads 32 KiB at a time may not
have seen them yet: a METS of more than that is given to it whole.
"""

import io
import re
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path

from lxml import etree

_TERMS = {
    "CSIPVocabularyContentCategory.xml": ["Mixed", "Other", "Text", "Collection"],
    "CSIPVocabularyStatus.xml": ["CURRENT", "SUPERSEDED"],
}
_ENUMERATED = {
    "CSIPVocabularyContentInformationType.xml": "CONTENTINFORMATIONTYPE",
    "CSIPVocabularyOAISPackageType.xml": "OAISPACKAGETYPE",
}


def vocabulary(address: str) -> io.BytesIO:
    name = address.rsplit("/", 1)[1]
    terms = _TERMS.get(name) or _enumerated(_ENUMERATED[name])
    return io.BytesIO("".join(f"<Term>{term}</Term>\n" for term in terms).encode())


def _enumerated(attribute: str) -> list[str]:
    schema = files("eark_validator").joinpath("ipxml/resources/schema/DILCISExtensionMETS.xsd").read_text("utf-8")
    _, _, part = schema.partition(f'name="{attribute}"')
    return re.findall(r'enumeration value="([^"]+)"', part.partition("</xs:attribute>")[0])


class Whole(io.BytesIO):
    def read(self, _size: int = -1) -> bytes:
        return super().read()


def parse(source, events=("end",), **known):
    return _iterparse(Whole(Path(source).read_bytes()) if "start" in events else source, events, **known)


_iterparse, etree.iterparse = etree.iterparse, parse
urllib.request.urlopen = vocabulary

from eark_validator.cli.app import main  # noqa: E402  (it reads the vocabularies when it is imported)

if __name__ == "__main__":
    sys.exit(main())
