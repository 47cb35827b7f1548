"""No other second seal passes: a byte altered under an index that fits is FAILED, whoever looks, and names its file."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from minutier import proof
from minutier.proof import assemble
from minutier.report import Verdict
from minutier.verify import verify
from tests.support.bundle import make_parts, repack, trust_of, unpack
from tests.support.pki import NOW, default_pki, make_crl, new_second_signer

SIGNER, LIST = new_second_signer(), "revocation/second.crl"
BLIND = trust_of(default_pki())
SEEING = dataclasses.replace(BLIND, second_roots=(SIGNER.root,))
BOUNDED = settings(max_examples=150, deadline=None, derandomize=True, database=None)


class Files(dict[str, bytes]):
    """The files of a proof; hypothesis prints what failed, and 86 kB of bytes say nothing."""

    def __repr__(self) -> str:
        return f"{len(self)} files"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    parts = make_parts(second=SIGNER)
    second = make_crl(SIGNER.root, SIGNER.root_key).public_bytes(Encoding.DER)
    whole = tmp_path_factory.mktemp("second") / "good.zip"
    assemble(dataclasses.replace(parts, crls={**parts.crls, "second": second}), whole)
    for trust in (SEEING, BLIND):
        assert verify(whole, trust, NOW + timedelta(days=1)).verdict is Verdict.PASSED
    return Files(unpack(whole))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("altered") / "altered.zip"


@BOUNDED
@given(
    member=st.sampled_from([proof.SECOND_SEAL, proof.SECOND_CHAIN, LIST]),
    fraction=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
    trust=st.sampled_from([SEEING, BLIND]),
)
def test_an_altered_byte_under_a_fitting_index_fails_and_names_its_file(files, place, member, fraction, mask, trust):
    data, at = files[member], int(len(files[member]) * fraction)
    altered = data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]
    report = verify(repack({**files, member: altered}, place), trust, NOW + timedelta(days=1))
    assert report.verdict is Verdict.FAILED, (member, at, mask)
    assert member in {finding.where for finding in report.findings if finding.verdict is Verdict.FAILED}
