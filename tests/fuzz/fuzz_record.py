"""Evidence records: `decode_record`, `check_record`, `path_root`, `path_text`."""

from __future__ import annotations

from contextlib import suppress

from minutier import evidence
from minutier.errors import IntegrityFailureError


def check(data: bytes) -> None:
    try:
        record = evidence.decode_record(data)
    except IntegrityFailureError:
        return
    assert evidence.encode_record(record) == data, "one record has two spellings"
    for stamp in record.stamps:
        assert (
            len(stamp.root) == evidence.SIZES[stamp.algorithm] == len(evidence.path_root(stamp.path, stamp.algorithm))
        )
        assert evidence.path_text(stamp.path).count("\n") == len(stamp.path)
    with suppress(IntegrityFailureError):
        evidence.check_record(record, {"sha256": [bytes(32)] * 2, "sha3_512": [bytes(64)] * 2})
        assert record.first.path[0] == tuple(bytes(len(item)) for item in record.first.path[0])
