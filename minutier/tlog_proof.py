"""Proof that one line is in the journal: a C2SP tlog-proof, one text file that others' tools read.

Format: docs/format/tlog-proof-v1.md. The entry itself travels as the proof's extra data, so that the file stands alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from minutier import merkle
from minutier.checkpoint import Checkpoint, NoteKey, verify_checkpoint
from minutier.errors import IntegrityFailureError

HEADER = "c2sp.org/tlog-proof@v1"
LARGEST = 256 << 10
_MOST_HASHES = 64
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class LineProof:
    """The entry at `index` (from 0), its audit path, and the signed checkpoint of the tree that it is in."""

    entry: bytes
    index: int
    path: tuple[bytes, ...]
    note: bytes


def encode(proof: LineProof) -> bytes:
    """Write a proof (C2SP tlog-proof)."""
    lines = [HEADER, f"extra {_text(proof.entry)}", f"index {proof.index}", *map(_text, proof.path), "", ""]
    return "\n".join(lines).encode() + proof.note


def decode(data: bytes) -> LineProof:
    """Read a proof in the one form that `encode` writes; IntegrityFailureError (`TLOG_PROOF_FORMAT`) for any other."""
    if len(data) > LARGEST:
        raise _format("it is too long")
    head, blank, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _format("it is not text") from None
    if not blank or len(lines) < 3 or lines[0] != HEADER or not lines[1].startswith("extra "):
        raise _format("its first lines are not those of a proof")
    index = _INDEX.fullmatch(lines[2])
    if index is None or len(lines) - 3 > _MOST_HASHES:
        raise _format("its index or its path cannot be read")
    path = tuple(_bytes(line) for line in lines[3:])
    if any(len(each) != 32 for each in path):
        raise _format("a hash of its path has not 32 octets")
    return LineProof(_bytes(lines[1].removeprefix("extra ")), int(index[1]), path, note)


def verify(data: bytes, keys: Sequence[NoteKey]) -> tuple[LineProof, Checkpoint]:
    """Verify a proof offline: 1. its form, 2. the signature of its checkpoint, 3. the path from the entry to the root.

    IntegrityFailureError: `TLOG_PROOF_FORMAT`, the codes of `checkpoint.verify_checkpoint`, `TLOG_PROOF_PATH`.
    """
    # 1. Form.
    proof = decode(data)
    # 2. A trusted key signed the checkpoint.
    checkpoint = verify_checkpoint(proof.note, keys)
    # 3. The entry is in the tree of that checkpoint, at that place.
    leaf = merkle.leaf_hash(proof.entry)
    if not merkle.verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise IntegrityFailureError(
            "TLOG_PROOF_PATH",
            "The path does not lead from this line to the root of the signed checkpoint.",
            remedy="Ask for the proof again; if it fails again, keep both and have the journal examined.",
        )
    return proof, checkpoint


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _format("it has a line that is not base64") from None
    if _text(data) != text:
        raise _format("it has a line that is not canonical base64")
    return data


def _format(why: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        "TLOG_PROOF_FORMAT", f"This is not a proof of one line of a journal: {why}.", remedy="Ask for the file again."
    )
