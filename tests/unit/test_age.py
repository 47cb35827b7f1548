"""age v1 files read and written here: against the published examples, pyrage, the age command, and planted harm."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minutier import age, age_stream, bech32
from minutier.age import HYBRID, X25519, generate_identity, parse_identities, parse_recipient, parse_recipients
from minutier.age_stream import CHUNK, NONCE, TAG, decrypt_bytes, encrypt_bytes, open_range
from minutier.errors import BadInputError, IntegrityFailureError

VECTORS = Path(__file__).parents[1] / "vectors" / "age"
LINES = b"".join(b"%06d\n" % number for number in range(10_000))
KINDS = (X25519, HYBRID)
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5)


def code(call) -> str:
    with pytest.raises((IntegrityFailureError, BadInputError)) as caught:
        call()
    return caught.value.code


def content(size: int) -> bytes:
    return (LINES * (size // len(LINES) + 1))[:size]


def opened(data: bytes, *identities):
    return open_range(lambda offset, length: data[offset : offset + length], len(data), identities)


def header_size(data: bytes) -> int:
    return age.read_header(io.BytesIO(data)).size


@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_files_of_the_age_command_open(kind):
    (identity,) = parse_identities((VECTORS / f"{kind}.identity").read_text("ascii"), "file")
    sealed = (VECTORS / f"{kind}.age").read_bytes()
    assert decrypt_bytes(sealed, [identity]) == LINES
    assert opened(sealed, identity).read(65_530, 65_560) == LINES[65_530:65_561]


def test_the_recipient_of_an_identity_is_the_one_that_age_keygen_says():
    for name in ("hybrid", "x25519"):
        text = (VECTORS / f"{name}.identity").read_text("ascii")
        (identity,) = parse_identities(text, "file")
        assert str(identity.recipient) in text
        assert identity.text() in text


def test_the_published_keys():
    # C2SP age.md, "The X25519 recipient type".
    (identity,) = parse_identities("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX", "page")
    assert str(identity.recipient) == "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    (hybrid,) = parse_identities(
        "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR", "page"
    )
    assert str(hybrid.recipient).startswith("age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pz")
    assert str(hybrid.recipient).endswith("eyty7saeq0d3fzv49zc0k")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_length_comes_back_whole_and_by_range(kind, size):
    identity, data = generate_identity(kind), content(size)
    sealed = encrypt_bytes(data, [identity.recipient])
    assert decrypt_bytes(sealed, [generate_identity(kind), identity]) == data
    reader = opened(sealed, identity)
    assert reader.size == size
    for first, last in ((0, 0), (0, size), (size - 1, size - 1), (CHUNK - 1, CHUNK), (CHUNK, 2 * CHUNK)):
        if 0 <= first < size:
            assert reader.read(first, last) == data[first : last + 1]
    for first, last in ((size, size), (-1, 0), (1, 0)):
        assert code(lambda bounds=(first, last): reader.read(*bounds)) == "BAD_RANGE"


def test_a_range_reads_the_chunks_that_hold_it_and_no_others():
    identity = generate_identity()
    sealed = encrypt_bytes(content(100 * CHUNK), [identity.recipient])
    asked = []

    def fetch(offset, length):
        asked.append((offset, length))
        return sealed[offset : offset + length]

    reader = open_range(fetch, len(sealed), [identity])
    assert reader.read(50 * CHUNK + 7, 50 * CHUNK + 8) == content(100 * CHUNK)[50 * CHUNK + 7 : 50 * CHUNK + 9]
    assert sum(length for _, length in asked) < 3 * CHUNK
    payload = header_size(sealed) + NONCE
    assert asked[-1] == (payload + 50 * (CHUNK + TAG), CHUNK + TAG)


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_opens_what_is_written_here_and_the_reverse(size):
    data, identity = content(size), generate_identity()
    theirs = pyrage.x25519.Identity.from_str(identity.text())
    assert str(theirs.to_public()) == str(identity.recipient)
    assert pyrage.decrypt(encrypt_bytes(data, [generate_identity().recipient, identity.recipient]), [theirs]) == data
    assert decrypt_bytes(pyrage.encrypt(data, [theirs.to_public()]), [identity]) == data


def test_the_age_command_opens_what_is_written_here(tmp_path):
    command = shutil.which("age")
    if command is None:
        pytest.skip("the age command is not installed: apt install age")
    identity = generate_identity()
    (tmp_path / "key").write_text(identity.text() + "\n", encoding="ascii")
    (tmp_path / "sealed").write_bytes(encrypt_bytes(LINES, [identity.recipient]))
    done = subprocess.run([command, "-d", "-i", "key", "sealed"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == LINES


def test_a_recent_age_command_opens_post_quantum_files(tmp_path):
    command = shutil.which("age")
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout if command else ""
    if [int(number) for number in re.findall(r"\d+", said)[:2]] < [1, 3]:
        pytest.skip(f"age {said.strip() or 'is not installed'}: 1.3 opens post-quantum files")
    identity = generate_identity(HYBRID)
    (tmp_path / "key").write_text(identity.text() + "\n", encoding="ascii")
    (tmp_path / "sealed").write_bytes(encrypt_bytes(LINES, [generate_identity(HYBRID).recipient, identity.recipient]))
    done = subprocess.run([command, "-d", "-i", "key", "sealed"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == LINES


def chunks(sealed: bytes) -> tuple[bytes, list[bytes]]:
    start = header_size(sealed) + NONCE
    return sealed[:start], [sealed[at : at + CHUNK + TAG] for at in range(start, len(sealed), CHUNK + TAG)]


def swapped(sealed):
    start, (first, second, *rest) = chunks(sealed)
    return b"".join([start, second, first, *rest])


def cut_at_a_chunk(sealed):
    start, pieces = chunks(sealed)
    return b"".join([start, *pieces[:-1]])


def doubled(sealed):
    start, pieces = chunks(sealed)
    return b"".join([start, pieces[0], *pieces])


def flagged(flags):
    """The same clear chunks under nonces whose final flags are others."""

    def harm(sealed, identity):
        header = age.read_header(io.BytesIO(sealed))
        file_key = age.open_header(header, [identity])
        nonce = sealed[header.size : header.size + NONCE]
        cipher = age_stream.ChaCha20Poly1305(age.derive(file_key, nonce, b"payload"))
        pieces = [content(3 * CHUNK + 9)[at : at + CHUNK] for at in range(0, 3 * CHUNK + 9, CHUNK)]
        sealed_pieces = [
            cipher.encrypt(number.to_bytes(11, "big") + bytes([flag]), piece, b"")
            for number, (piece, flag) in enumerate(zip(pieces, flags, strict=True))
        ]
        return b"".join([sealed[: header.size + NONCE], *sealed_pieces])

    return harm


HARMS = {
    "two chunks change places": lambda sealed, _: swapped(sealed),
    "cut at the edge of a chunk": lambda sealed, _: cut_at_a_chunk(sealed),
    "cut within a chunk": lambda sealed, _: sealed[:-1],
    "cut to a part of a tag": lambda sealed, _: cut_at_a_chunk(sealed) + bytes(TAG - 1),
    "one chunk twice": lambda sealed, _: doubled(sealed),
    "bytes after the end": lambda sealed, _: sealed + b"x",
    "an empty chunk after the end": lambda sealed, _: sealed + bytes(TAG),
    "no chunk is final": flagged((0, 0, 0, 0)),
    "another nonce": lambda sealed, _: (
        sealed[: header_size(sealed)] + bytes(NONCE) + sealed[header_size(sealed) + NONCE :]
    ),
    "no payload": lambda sealed, _: sealed[: header_size(sealed)],
    "no chunk": lambda sealed, _: sealed[: header_size(sealed) + NONCE],
    "header alone, without its end": lambda sealed, _: sealed[:60],
    "other magic": lambda sealed, _: b"age-encryption.org/v2" + sealed[21:],
    "a MAC of another header": lambda sealed, _: sealed.replace(b"\n--- ", b"\n-> grease x\n\n--- ", 1),
    "not an age file": lambda _sealed, _: content(4096),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HARMS)
def test_planted_harm_is_refused_whole_and_by_range(kind, name):
    identity = generate_identity(kind)
    sealed = encrypt_bytes(content(3 * CHUNK + 9), [identity.recipient])
    harmed = HARMS[name](sealed, identity)
    assert code(lambda: decrypt_bytes(harmed, [identity])) == "CIPHERTEXT_ALTERED"
    assert code(lambda: opened(harmed, identity).read(0, 4 * CHUNK)) == "CIPHERTEXT_ALTERED"


def test_chunks_that_changed_places_are_refused_when_a_range_reads_them():
    identity = generate_identity()
    harmed = opened(swapped(encrypt_bytes(content(3 * CHUNK + 9), [identity.recipient])), identity)
    assert code(lambda: harmed.read(0, 1)) == "CIPHERTEXT_ALTERED"
    assert harmed.read(2 * CHUNK, 2 * CHUNK) == content(2 * CHUNK + 1)[-1:]


def test_a_final_flag_in_the_middle_is_refused_where_it_is_read():
    identity = generate_identity()
    sealed = encrypt_bytes(content(3 * CHUNK + 9), [identity.recipient])
    harmed = flagged((0, 1, 0, 1))(sealed, identity)
    assert code(lambda: decrypt_bytes(harmed, [identity])) == "CIPHERTEXT_ALTERED"
    assert code(lambda: opened(harmed, identity).read(CHUNK, CHUNK)) == "CIPHERTEXT_ALTERED"


def test_an_empty_chunk_after_a_full_one_is_refused():
    identity, data = generate_identity(), content(CHUNK)
    sealed = encrypt_bytes(data, [identity.recipient])
    header = age.read_header(io.BytesIO(sealed))
    start = sealed[: header.size + NONCE]
    cipher = age_stream.ChaCha20Poly1305(age.derive(age.open_header(header, [identity]), start[-NONCE:], b"payload"))
    harmed = start + cipher.encrypt(bytes(12), data, b"") + cipher.encrypt(bytes(10) + b"\1\1", b"", b"")
    assert code(lambda: decrypt_bytes(harmed, [identity])) == "CIPHERTEXT_ALTERED"
    assert code(lambda: opened(harmed, identity)) == "CIPHERTEXT_ALTERED"


@pytest.mark.parametrize("kind", KINDS)
def test_stanzas_that_are_malformed_are_refused_and_not_tried(kind):
    identity = generate_identity(kind)
    sealed = encrypt_bytes(b"text", [identity.recipient])
    first = sealed.split(b"\n")[1]
    share = first.split(b" ")[2]
    zeros = share[:-43] + b"A" * 43 if kind == X25519 else share
    for other in (
        first + b" extra",
        first.rsplit(b" ", 1)[0],
        first[:-4],
        first.replace(b"-> ", b"->  "),
        first.replace(b"-> ", b"-- "),
        first.replace(share, zeros) if kind == X25519 else first + b"=",
    ):
        harmed = sealed.replace(first, other, 1)
        assert code(lambda harmed=harmed: decrypt_bytes(harmed, [identity])) == "CIPHERTEXT_ALTERED"
    body = sealed.split(b"\n")[2]
    for other in (body + b"AA", body + b"A" * 60, b"", body[:-1] + b"=", body + b"\nAAAA"):
        harmed = sealed.replace(body, other, 1)
        assert code(lambda harmed=harmed: decrypt_bytes(harmed, [identity])) == "CIPHERTEXT_ALTERED"


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 999))

    identity, sealed, clear = generate_identity(), io.BytesIO(), io.BytesIO()
    age_stream.encrypt(Slow(content(2 * CHUNK + 1)), sealed, [identity.recipient])
    age_stream.decrypt(Slow(sealed.getvalue()), clear, [identity])
    assert clear.getvalue() == content(2 * CHUNK + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_a_header_counts(kind):
    identity = generate_identity(kind)
    sealed = encrypt_bytes(b"short", [identity.recipient])
    step = 1 if kind == X25519 else 23
    for place in range(0, header_size(sealed), step):
        harmed = sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :]
        assert code(lambda harmed=harmed: decrypt_bytes(harmed, [identity])) in (
            "CIPHERTEXT_ALTERED",
            "KEY_DOES_NOT_OPEN",
        )


def test_a_header_longer_than_the_first_read_is_read_whole():
    identity = generate_identity(HYBRID)
    sealed = encrypt_bytes(LINES, [*(generate_identity(HYBRID).recipient for _ in range(5)), identity.recipient])
    assert header_size(sealed) > 8192
    assert opened(sealed, identity).read(0, 9) == LINES[:10]


@pytest.mark.parametrize("kind", KINDS)
def test_another_key_does_not_open(kind):
    sealed = encrypt_bytes(b"text", [generate_identity(kind).recipient])
    assert (
        code(lambda: decrypt_bytes(sealed, [generate_identity(X25519), generate_identity(HYBRID)]))
        == "KEY_DOES_NOT_OPEN"
    )


def test_recipients_of_two_kinds_are_not_mixed():
    texts = [str(generate_identity(kind).recipient) for kind in KINDS]
    assert code(lambda: parse_recipients(texts)) == "MIXED_RECIPIENTS"
    assert len(parse_recipients([texts[0], texts[0]])) == 1


NO_RECIPIENTS = [
    *("", "age1", "age1pq1", "ssh-ed25519 AAAA", str(generate_identity().recipient).upper()),
    *(bech32.encode("age", bytes(31)), bech32.encode("agf", bytes(32)), bech32.encode("age1pq", bytes(32))),
    # A point of low order, and an ML-KEM key with coefficients out of range.
    *(bech32.encode("age", bytes(32)), bech32.encode("age1pq", b"\xff" * 1216)),
]


@pytest.mark.parametrize("text", NO_RECIPIENTS, ids=range(len(NO_RECIPIENTS)))
def test_what_is_not_a_recipient_is_refused(text):
    assert code(lambda: parse_recipient(text)) == "BAD_RECIPIENT"


def test_an_identity_file_is_refused_without_showing_it():
    secret = generate_identity().text()
    for text in (
        "",
        "# nothing\n",
        f"{secret}\nnonsense",
        secret.lower(),
        secret[:-1] + "Q",
        str(generate_identity().recipient),
    ):
        with pytest.raises(BadInputError) as caught:
            parse_identities(text, "my.key")
        assert (caught.value.code, secret[20:40] in str(caught.value)) == ("BAD_IDENTITY", False)
    assert parse_identities(f"# created\n\n{secret}\n", "my.key")[0].text() == secret
    assert secret not in repr(parse_identities(secret, "my.key"))


@given(st.binary(max_size=1300), st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=20))
def test_bech32_comes_back(data, prefix):
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == bech32.decode(text.upper()) == (prefix, data)
    assert bech32.decode(text[:-1] + ("q" if text[-1] != "q" else "p")) is None


@given(st.binary(max_size=400))
def test_no_header_makes_the_reader_fail_otherwise(data):
    for text in (data, age.VERSION + data, age.VERSION + b"-> X25519 " + data):
        assert code(lambda text=text: decrypt_bytes(text, [generate_identity()])) in (
            "CIPHERTEXT_ALTERED",
            "KEY_DOES_NOT_OPEN",
        )
