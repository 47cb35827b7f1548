"""Who has every bucket, the database and the whole home, but no key of a client, reads no document of that client."""

import hashlib
import re
import secrets
import shutil
import tempfile

import pytest
from psycopg.sql import SQL, Identifier

from minutier.age import HYBRID, X25519, parse_identities
from minutier.age_stream import decrypt_bytes
from minutier.errors import IntegrityFailureError
from storage import reading
from storage.directory import DirectoryStore
from storage.reception import Delivery, receive
from tasks.aside import carry_through
from tasks.samples.paper import Paper, draw
from tests.support.clients import blind_delivery, client_safe, holding
from tests.support.rig import make_rig

WINDOW = 16
# In the document as text; its pages hold them compressed.
WORDS = " ".join(secrets.token_hex(4) for _ in range(40))
SECRET = re.compile(rb"AGE-SECRET-KEY-(?:PQ-)?1[02-9AC-HJ-NP-Z]{58}", re.IGNORECASE)


def windows(data: bytes) -> set[bytes]:
    return {data[at : at + WINDOW] for at in range(len(data) - WINDOW + 1)}


def found_in(places: dict[str, bytes], wanted: set[bytes]) -> set[str]:
    return {
        name
        for name, data in places.items()
        if any(data[at : at + WINDOW] in wanted for at in range(len(data) - WINDOW + 1))
    }


def raw(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def database(archive) -> dict[str, bytes]:
    """Every value of every table, as one text per table."""
    with archive.database.transaction() as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            f"table {row['tablename']}": b"\n".join(
                raw(value)
                for line in connection.execute(SQL("SELECT * FROM {}").format(Identifier(row["tablename"])))
                for value in line.values()
            )
            for row in rows
        }


def files(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def everything(rig) -> dict[str, bytes]:
    return database(rig.archive) | files(rig.archive.settings.home) | files(rig.folder / "stores")


@pytest.fixture
def rig(database_url, certified_home, tmp_path, monkeypatch):
    shutil.copytree(certified_home, tmp_path / "home")
    # What goes through temporary files would be seen in them.
    (tmp_path / "home" / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "home" / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)

    def stores(clock):
        return [DirectoryStore(name, tmp_path / "stores" / name, create=True, clock=clock) for name in ("a", "b")]

    with make_rig(database_url, tmp_path, stores) as value:
        yield value


@pytest.fixture
def paper(tmp_path):
    """A PDF that gets a rendition; its text is nowhere else."""
    path = tmp_path / "acte.pdf"
    path.write_bytes(draw(Paper("Étude", "Acte", WORDS[:60], [("Numéro", WORDS[60:90])], [("Texte", WORDS[90:])])))
    return path


def identities_lying_around(places):
    texts = {match.decode().upper() for data in places.values() for match in SECRET.findall(data)}
    return [parse_identities(text, "found")[0] for text in sorted(texts)]


def opened_by(places, identities) -> set[str]:
    """The age files, stored objects and wrapped keys, that one of the identities opens."""
    found = set()
    for name, data in places.items():
        if not data.startswith(b"age-encryption.org/v1\n"):
            continue
        try:
            decrypt_bytes(data, identities)
            found.add(name)
        except IntegrityFailureError as error:
            assert error.code == "KEY_DOES_NOT_OPEN"
    return found


def age_files(archive, places, deposit):
    """Objects of a document on both replicas, and both copies of its wrapped key."""
    with archive.database.transaction() as connection:
        query = "SELECT wrapped FROM document_key WHERE archive_id = %s"
        (row,) = connection.execute(query, (deposit.archive_id,)).fetchall()
    chosen = {name: data for name, data in places.items() if deposit.archive_id in name and "lock.json" not in name}
    return chosen | {"row": bytes(row["wrapped"])}


@pytest.mark.parametrize("kind", [X25519, HYBRID])
def test_the_operator_without_a_clients_key_reads_no_managed_document(rig, paper, tmp_path, kind):
    client = client_safe(rig, kind=kind)
    received = receive(rig.archive, Delivery(paper, "notary", "default", "R-1", "tests", name="acte.pdf"))
    # While it travels, a managed document is in clear in the spool: the search finds it there.
    assert any("/spool/" in name for name in found_in(everything(rig), windows(paper.read_bytes())))
    (deposit,) = carry_through(rig.archive, [received.archive_id])
    assert (deposit.state, deposit.rendition["verdict"]) == ("ARCHIVED", "passed")
    own = holding(rig.archive, client)
    reading.read(own, deposit, tmp_path / "back.pdf")
    reading.read(own, deposit, tmp_path / "rendition.pdf", role="rendition")
    assert (tmp_path / "back.pdf").read_bytes() == paper.read_bytes()
    places = everything(rig)
    wanted = windows(paper.read_bytes()) | windows((tmp_path / "rendition.pdf").read_bytes()) | windows(WORDS.encode())
    assert found_in(places, wanted) == set()
    sealed = age_files(rig.archive, places, deposit)
    assert len(sealed) == 2 * 3 + 2
    around = identities_lying_around(places)
    assert len(around) >= 2  # the key of the safe demo, the escrow of this house
    assert opened_by(sealed, around) == set()
    assert client.text().encode() not in b"".join(places.values())
    # What the database does show (docs/threat-model.md): who guesses the document can confirm the guess.
    assert hashlib.sha256(paper.read_bytes()).hexdigest().encode() in places["table deposit"]


@pytest.mark.parametrize("kind", [X25519, HYBRID])
def test_the_operator_reads_no_blind_document_and_cannot_confirm_a_guess(rig, paper, tmp_path, kind):
    client = client_safe(rig, kind=kind)
    received = receive(rig.archive, blind_delivery(rig, paper, [str(client.recipient)]))
    wanted = windows(paper.read_bytes()) | windows(WORDS.encode())
    # Not even while it travels.
    assert found_in(everything(rig), wanted) == set()
    (deposit,) = carry_through(rig.archive, [received.archive_id])
    assert deposit.state == "ARCHIVED"
    reading.read(holding(rig.archive, client), deposit, tmp_path / "back.pdf")
    assert (tmp_path / "back.pdf").read_bytes() == paper.read_bytes()
    places = everything(rig)
    assert found_in(places, wanted) == set()
    sealed = age_files(rig.archive, places, deposit)
    assert len(sealed) == 2 * 2 + 2
    assert opened_by(sealed, identities_lying_around(places)) == set()
    for digest in (hashlib.sha256, hashlib.sha3_512, hashlib.sha512, hashlib.sha1, hashlib.md5):
        value = digest(paper.read_bytes())
        for text in (value.digest(), value.hexdigest().encode()):
            assert not [name for name, data in places.items() if text in data]


def test_the_same_search_opens_a_document_whose_key_the_host_holds(rig, paper):
    received = receive(rig.archive, Delivery(paper, "demo", "default", "R-1", "tests", name="acte.pdf"))
    (deposit,) = carry_through(rig.archive, [received.archive_id])
    places = everything(rig)
    sealed = age_files(rig.archive, places, deposit)
    around = identities_lying_around(places)
    keys = opened_by(sealed, around)
    assert "row" in keys
    (key,) = parse_identities(decrypt_bytes(sealed["row"], around).decode(), "row")
    objects = {name: data for name, data in sealed.items() if name.startswith(str(rig.folder / "stores"))}
    assert opened_by(objects, [key]) == set(objects)
