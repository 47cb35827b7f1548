"""The real ClamAV daemon, with a signature of ours: nothing infected is archived, however wrapped; down, all waits."""

import io
import os
import shutil
import subprocess
import time
import zipfile

import pikepdf
import pytest

from minutier.errors import RefusedDocumentError, ServiceUnavailableError
from tasks import clamd
from tasks.limits import Limits
from tasks.samples.paper import Paper, draw
from tasks.screen import screen
from tests.unit.test_office import docx

MARKER = b"MINUTIER-TEST-SIGNATURE-7f3a"
"""Not the EICAR string, which our own scan refuses before the daemon is asked: here the daemon alone must find it."""
LARGEST = 4 << 20
PAPER = Paper("Mairie", "Arrêté", "", (("Numéro", "42"),), (("Objet", "Un permis est accordé. " * 30),), "Le maire")

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("clamd") is None, reason="clamd is absent: infra/bootstrap.sh test installs it"),
]


def configuration(folder, largest=LARGEST):
    return f"""DatabaseDirectory {folder}/database
LocalSocket {folder}/clamd.sock
TemporaryDirectory {folder}
Foreground yes
User root
StreamMaxLength {largest}
MaxFileSize {largest}
MaxScanSize {largest * 4}
AlertExceedsMax yes
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A daemon that knows the marker; gives its address."""
    folder = tmp_path_factory.mktemp("clamd")
    (folder / "database").mkdir()
    (folder / "database" / "own.ndb").write_text(f"Minutier.Marker:0:*:{MARKER.hex()}\n")
    text = configuration(folder)
    (folder / "clamd.conf").write_text(text if os.geteuid() == 0 else text.replace("User root\n", ""))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["clamd", "-c", str(folder / "clamd.conf")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "clamd.sock").exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "clamd did not start"
            time.sleep(0.1)
        yield f"unix:{folder / 'clamd.sock'}"
    finally:
        process.terminate()
        process.wait(20)


def saved(pdf, **options):
    target = io.BytesIO()
    pdf.save(target, **options)
    return target.getvalue()


def attached(compressed=True):
    """Give a PDF with the marker in an attached file, as PDF programs write it: packed, with a checksum."""
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.attachments["note.txt"] = MARKER
        return saved(pdf, compress_streams=compressed)


def in_stream():
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.Root.Hidden = pdf.make_stream(MARKER)
        return saved(pdf, compress_streams=True, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def restricted():
    """Give a PDF that everybody opens and whose streams are encrypted all the same: the owner has a password."""
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.attachments["note.txt"] = MARKER
        return saved(pdf, encryption=pikepdf.Encryption(owner="secret", user=""))


def in_package():
    target = io.BytesIO(docx())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr("word/embeddings/note.bin", MARKER)
    return target.getvalue()


CASES = {
    "plain.txt": b"du texte " + MARKER,
    "attached.pdf": attached(),
    "stream.pdf": in_stream(),
    "restricted.pdf": restricted(),
    "package.docx": in_package(),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_daemon_knows_is_refused_wherever_it_hides(tmp_path, daemon, name):
    path = tmp_path / name
    path.write_bytes(CASES[name])
    with pytest.raises(RefusedDocumentError) as caught:
        screen(path, name, Limits(), daemon)
    assert caught.value.code == "MALWARE"
    assert "Minutier.Marker" in caught.value.message


@pytest.mark.parametrize("name", ["paper.pdf", "letter.docx"])
def test_what_is_clean_passes_and_says_by_whom(tmp_path, daemon, name):
    path = tmp_path / name
    path.write_bytes(draw(PAPER) if name.endswith("pdf") else docx())
    assert screen(path, name, Limits(), daemon).antivirus == clamd.version(daemon)
    assert clamd.version(daemon).startswith("clamav ")


def test_past_a_limit_nothing_is_called_clean(tmp_path, daemon):
    """Past its limits the daemon reads no further: the document waits, it is not archived."""
    path = tmp_path / "large.txt"
    path.write_bytes(b"une ligne\n" * (LARGEST // 5) + MARKER)
    with pytest.raises(ServiceUnavailableError) as caught:
        screen(path, "large.txt", Limits(), daemon)
    assert caught.value.code == "ANTIVIRUS_LIMIT"


def test_an_encrypted_package_is_no_document(tmp_path, daemon):
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("note.txt", MARKER)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # general purpose bit 0: encrypted (APPNOTE 4.4.4)
    path.write_bytes(data)
    with pytest.raises(RefusedDocumentError) as caught:
        screen(path, "secret.zip", Limits(), daemon)
    assert caught.value.code in ("FORMAT_UNKNOWN", "MALWARE")


def test_a_pdf_that_asks_for_a_password_is_refused(tmp_path, daemon):
    path = tmp_path / "locked.pdf"
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        path.write_bytes(saved(pdf, encryption=pikepdf.Encryption(owner="secret", user="secret")))
    with pytest.raises(RefusedDocumentError) as caught:
        screen(path, "locked.pdf", Limits(), daemon)
    assert caught.value.code == "ENCRYPTED"


def test_without_the_daemon_all_waits(tmp_path, daemon):
    path = tmp_path / "paper.pdf"
    path.write_bytes(draw(PAPER))
    with pytest.raises(ServiceUnavailableError) as caught:
        screen(path, "paper.pdf", Limits(), f"{daemon}.gone")
    assert caught.value.code == "ANTIVIRUS_DOWN"
    assert caught.value.retryable
