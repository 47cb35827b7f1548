"""Transfers in SEDA, its spreadsheet form, folders without manifest: what is taken, and what no package may hold."""

import hashlib
import io
import random
import zipfile

import pytest

from minutier.errors import BadInputError
from tasks import door as at_door
from tasks import seda
from tasks.door import is_taken, seconds_to_wait, waiting_batches
from tasks.intake import finish_batch, receive_batch
from tests.support.rig import carry

SEDA = "fr:gouv:culture:archivesdefrance:seda:v2.3"
FILES = {"ID11.txt": b"Demande de permis", "ID21.txt": b"Plan de masse"}
_OBJECT = """<DataObjectGroup id="{group}"><BinaryDataObject id="{own}">
<DataObjectVersion>BinaryMaster_1</DataObjectVersion><Uri>{uri}</Uri>
<MessageDigest algorithm="{algorithm}">{digest}</MessageDigest><Size>{size}</Size>
<FormatIdentification><FormatId>x-fmt/111</FormatId></FormatIdentification>
<FileInfo><Filename>demande d'origine.txt</Filename></FileInfo></BinaryDataObject></DataObjectGroup>"""
_UNIT = """<ArchiveUnit id="U{group}"><Content><DescriptionLevel>Item</DescriptionLevel><Title>{title}</Title>
<CreatedDate>2026-03-02</CreatedDate></Content><DataObjectReference>
<DataObjectGroupReferenceId>{group}</DataObjectGroupReferenceId></DataObjectReference></ArchiveUnit>"""


def manifest(files=FILES, *, head="", algorithm="SHA-512", namespace=SEDA, **changed):
    """Write an ArchiveTransfer whose units lie in a dossier; `changed` values are those of every object."""
    objects, units = [], []
    for name, data in files.items():
        own = name.partition(".")[0]
        values = {
            "group": f"G{own}", "own": own, "uri": f"content/{name}", "algorithm": algorithm, "size": len(data),
            "digest": hashlib.new(algorithm.replace("-", "").lower(), data).hexdigest(), "title": f"Pièce {own}",
        } | changed  # fmt: skip
        objects.append(_OBJECT.format(**values))
        units.append(_UNIT.format(**values))
    return f"""<?xml version="1.0" encoding="UTF-8"?>{head}
<ArchiveTransfer xmlns="{namespace}"><Date>2026-03-02T10:00:00</Date>
<MessageIdentifier>MSG 12/2026</MessageIdentifier><ArchivalAgreement><![CDATA[A]]></ArchivalAgreement>
<DataObjectPackage>{"".join(objects)}<DescriptiveMetadata><ArchiveUnit id="TOP"><Content>
<DescriptionLevel>RecordGrp</DescriptionLevel><Title>PC 075 056 26 00042</Title></Content>{"".join(units)}</ArchiveUnit>
</DescriptiveMetadata></DataObjectPackage></ArchiveTransfer>""".encode()


def package(path, text=None, files=FILES, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.xml", text if text is not None else manifest(files))
        for name, data in files.items():
            made.writestr(f"content/{name}", data)
        for name, data in more.items():
            made.writestr(name, data)
    return path


@pytest.fixture
def door(rig):
    path = rig.folder / "door"
    path.mkdir()
    return path


def take(rig, door):
    """Take what waits, to its receipt; gives the reports by batch."""
    batches, unreadable = waiting_batches(rig.archive, "mairie", door)
    assert unreadable == []
    reports = {}
    for batch in batches:
        received = receive_batch(rig.archive, "mairie", batch)
        carry(rig.archive, [each.archive_id for tickets in received.dossiers.values() for each in tickets])
        reports[batch.name] = finish_batch(rig.archive, batch, received)
        assert is_taken(rig.archive, "mairie", batch)
    return reports


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512"])
@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3"])
def test_a_package_is_taken_and_answered_beside_it(rig, door, algorithm, version):
    path = package(door / "sip.zip", manifest(algorithm=algorithm, namespace=SEDA.replace("2.3", version)))
    report = take(rig, door)["sip.zip"]
    assert [line["etat"] for line in report["lines"]] == ["archivé", "archivé"]
    assert (door / "sip.zip.accuse.csv").read_text("utf-8-sig").count("archivé") == 2
    assert sorted(each.name for each in door.iterdir()) == ["sip.zip", "sip.zip.accuse.csv"]
    assert not list(rig.archive.spool.glob(".package-*"))
    assert take(rig, door) == {}
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT * FROM deposit WHERE reference = 'MSG 12/2026/ID11'").fetchone()
    assert (row["dossier"], row["sha256"]) == ("PC 075 056 26 00042", hashlib.sha256(FILES["ID11.txt"]).hexdigest())
    assert row["metadata"]["title"] == "Pièce ID11"
    assert row["metadata"]["seda_format"] == "x-fmt/111"
    assert row["metadata"]["date"] == "2026-03-02"
    # The same package again, under another name, is the same documents.
    path.rename(door / "again.zip")
    assert {line["archive_id"] for line in take(rig, door)["again.zip"]["lines"]} == {
        line["archive_id"] for line in report["lines"]
    }


def test_an_unpacked_transfer_is_taken_where_it_lies(rig, door):
    (door / "sip" / "content").mkdir(parents=True)
    for name, data in FILES.items():
        (door / "sip" / "content" / name).write_bytes(data)
    (door / "sip" / "manifest.xml").write_bytes(manifest())
    assert [line["etat"] for line in take(rig, door)["sip"]["lines"]] == ["archivé", "archivé"]
    assert (door / "sip" / "accuse.csv").is_file()


def test_a_bad_object_stops_no_other(rig, door):
    good, bad = manifest({"ID11.txt": b"Demande de permis"}), manifest({"ID21.txt": b"x"}, digest="0" * 128, size=13)
    inside = bad[bad.index(b"<DataObjectGroup") : bad.index(b"<DescriptiveMetadata>")]
    text = good.replace(b"<DescriptiveMetadata>", inside + b"<DescriptiveMetadata>")
    package(door / "sip.zip", text)
    lines = take(rig, door)["sip.zip"]["lines"]
    assert [(line["etat"], line["motif"]) for line in lines] == [("archivé", ""), ("refusé", "DIGEST_MISMATCH")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"uri": "../etc/passwd"}, "Uri"),
        ({"uri": "content/../../x"}, "Uri"),
        ({"uri": "ID11.txt"}, "Uri"),
        ({"algorithm": "SHA-512", "digest": "zz"}, "sha512"),
        ({"size": "1_0"}, "taille"),
    ],
)
def test_an_object_that_cannot_be_used_says_why(rig, door, changed, said):
    package(door / "sip.zip", manifest({"ID11.txt": b"x"}, **changed))
    (line,) = take(rig, door)["sip.zip"]["lines"]
    assert line["motif"] == "MANIFEST_LINE_BAD"
    batch = seda.read_package(door / "sip.zip")
    assert said in batch.lines[0].refusal.message


def test_md5_is_no_digest(tmp_path):
    package(tmp_path / "sip.zip", manifest(algorithm="MD5"))
    (line, _) = seda.read_package(tmp_path / "sip.zip").lines
    assert "SHA-256 or SHA-512" in line.refusal.message


def link(made):
    member = zipfile.ZipInfo("content/link")
    member.external_attr = 0o120777 << 16
    made.writestr(member, "/etc/passwd")


@pytest.mark.parametrize(
    ("name", "text", "more", "said"),
    [
        ("doctype", manifest(head='<!DOCTYPE x [<!ENTITY a "b">]>'), {}, "DTD"),
        ("external entity", manifest(head='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), {}, "DTD"),
        ("not XML", b"<ArchiveTransfer", {}, "not XML"),
        ("another message", b"<other/>", {}, "ArchiveTransfer"),
        ("nothing listed", manifest({}), {}, "no binary object"),
        ("traversal", None, {"../out": "x"}, "not allowed"),
        ("absolute", None, {"/etc/out": "x"}, "not allowed"),
        ("backslash", None, {"a\\b": "x"}, "not allowed"),
        ("bomb", None, {"bomb": b"0" * (4 << 20)}, "more than it may"),
    ],
)
def test_what_no_package_may_hold_is_refused_whole(tmp_path, name, text, more, said):
    path = package(tmp_path / "sip.zip", text, **more)
    with pytest.raises(BadInputError, match=said) as caught:
        seda.read_package(path)
    assert caught.value.code == "BAD_MANIFEST", name


def test_links_and_doubles_are_refused(tmp_path):
    path = package(tmp_path / "sip.zip")
    with zipfile.ZipFile(path, "a") as made:
        link(made)
    with pytest.raises(BadInputError, match="link"):
        seda.read_package(path)
    other = package(tmp_path / "twice.zip")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(other, "a") as made:
        made.writestr("content/ID11.txt", b"another")
    with pytest.raises(BadInputError, match="twice"):
        seda.read_package(other)


def test_a_package_on_its_way_is_left_alone(rig, door):
    data = io.BytesIO()
    package(data)
    (door / "sip.zip").write_bytes(data.getvalue()[:-40])
    assert waiting_batches(rig.archive, "mairie", door) == ([], [])
    (door / "sip.zip").write_bytes(data.getvalue())
    assert len(waiting_batches(rig.archive, "mairie", door)[0]) == 1


def test_a_damaged_package_is_said_and_taken_once_mended(rig, door):
    data = io.BytesIO()
    package(data)
    damaged = bytearray(data.getvalue())
    place = damaged.index(b"content/ID21.txt") + 20
    damaged[place] ^= 0xFF
    (door / "sip.zip").write_bytes(damaged)
    ((batch,), _) = waiting_batches(rig.archive, "mairie", door)
    with pytest.raises(BadInputError, match="damaged"):
        receive_batch(rig.archive, "mairie", batch)
    (door / "sip.zip").write_bytes(data.getvalue())
    assert [line["etat"] for line in take(rig, door)["sip.zip"]["lines"]] == ["archivé", "archivé"]


TABLE = "Id;ParentId;File;Content.DescriptionLevel;Content.Title;Content.CreatedDate\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_spreadsheet_form_is_taken_once_it_is_quiet(rig, door, monkeypatch, encoding):
    folder = door / "lot"
    folder.mkdir()
    rows = (
        "1;;;RecordGrp;Dossier de l'été;",
        "2;1;plan.txt;Item;Plan de façade;2026-03-02",
        "3;1;no.txt;Item;Absente;",
    )
    text = TABLE + "\r\n".join(rows)
    (folder / "metadata.csv").write_bytes(text.encode(encoding))
    (folder / "plan.txt").write_bytes(b"un plan")
    assert waiting_batches(rig.archive, "mairie", door) == ([], []), "its files may still grow"
    monkeypatch.setattr(at_door, "QUIET_SECONDS", -1.0)
    lines = take(rig, door)["lot"]["lines"]
    assert [(line["etat"], line["motif"]) for line in lines] == [("archivé", ""), ("refusé", "FILE_MISSING")]
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT * FROM deposit WHERE reference = 'lot/2'").fetchone()
    assert row["metadata"]["title"] == "Plan de façade"
    assert row["dossier"] == "Dossier de l t"


def test_a_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "metadata.csv").write_text("Id;Title\n1;a\n")
    with pytest.raises(BadInputError, match="File"):
        seda.read_table(tmp_path)


def test_a_listed_file_never_becomes_a_path(tmp_path):
    (tmp_path / "metadata.csv").write_text(f"{TABLE}1;;../secret.txt;Item;Secret;2026-03-02\n")
    (line,) = seda.read_table(tmp_path).lines
    assert line.row is None


def test_a_folder_without_manifest_is_taken_where_it_is_allowed(rig, door, monkeypatch):
    folder = door / "Dossier Dupont"
    folder.mkdir()
    (folder / "photo é.txt").write_bytes(b"une photo")
    monkeypatch.setattr(at_door, "BARE_SECONDS", -1.0)
    assert waiting_batches(rig.archive, "mairie", door) == ([], []), "not unless the feed allows it"
    object.__setattr__(rig.archive, "settings", rig.archive.settings.model_copy(update={"bare_feeds": ("mairie",)}))
    report = take(rig, door)["Dossier Dupont"]
    assert [line["etat"] for line in report["lines"]] == ["archivé"]
    assert report["lines"][0]["reference"] == "Dossier Dupont/photo .txt"
    assert take(rig, door) == {}, "its receipt is no new document"
    (folder / "plan.txt").write_bytes(b"un plan")
    again = take(rig, door)["Dossier Dupont"]
    assert [line["etat"] for line in again["lines"]] == ["archivé", "archivé"]
    assert report["lines"][0]["archive_id"] in {line["archive_id"] for line in again["lines"]}


def test_a_bare_folder_waits_for_ten_quiet_minutes(rig, door, monkeypatch):
    object.__setattr__(rig.archive, "settings", rig.archive.settings.model_copy(update={"bare_feeds": ("mairie",)}))
    folder = door / "lot"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a")
    assert 590 < seconds_to_wait(rig.archive, "mairie", door) <= 600
    (folder / "within").mkdir()
    batches, unreadable = waiting_batches(rig.archive, "mairie", door)
    assert batches == []
    assert "folder in it" in unreadable[0].message


def test_whatever_byte_is_changed_it_is_read_or_refused(tmp_path):
    """Every third byte of a package, then drawn bits: a batch or one error of ours, never another."""
    data = io.BytesIO()
    package(data)
    whole, path = data.getvalue(), tmp_path / "sip.zip"
    drawn = random.Random(20261127)
    cases = [(place, 0xFF) for place in range(0, len(whole), 3)] + [
        (drawn.randrange(len(whole)), 1) for _ in range(300)
    ]
    refused = 0
    for place, flip in cases:
        changed = bytearray(whole)
        changed[place] ^= flip
        path.write_bytes(changed)
        try:
            with seda.unpacked(seda.read_package(path), tmp_path) as there:
                assert all(line.row is None or there.file(line.row).parent.name == "content" for line in there.lines)
        except BadInputError:
            refused += 1
    assert refused > len(cases) // 4
    assert sorted(each.name for each in tmp_path.iterdir()) == ["sip.zip"]


@pytest.mark.parametrize(
    "text",
    [
        "File;Content.Title\n",
        "File;Content.Title\na.txt\n",
        "File;Content.Title\n;;;;\n",
        'File;Content.Title\n"a\n',
        "\n",
        "File;File;Content.Title\na;b;c\n",
        f"{TABLE}1;1;a.txt;Item;{'x' * 5000};9999-99-99\n",
        f"{TABLE}\x00;;a\x00b;;;\n",
    ],
)
def test_an_odd_table_is_read_or_refused(tmp_path, text):
    (tmp_path / "metadata.csv").write_bytes(text.encode())
    try:
        assert all(line.row is None or line.row.fichier for line in seda.read_table(tmp_path).lines)
    except (BadInputError, ValueError) as error:
        assert "Traceback" not in str(error)


def test_what_fails_while_a_package_is_used_is_not_called_damage(tmp_path):
    batch = seda.read_package(package(tmp_path / "sip.zip"))
    with pytest.raises(RuntimeError, match="of another kind"), seda.unpacked(batch, tmp_path):
        raise RuntimeError("of another kind")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["sip.zip"]
