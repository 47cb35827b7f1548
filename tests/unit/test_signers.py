"""Sealing keys: files, encrypted or not, and a device; each mistake is said before a document waits for the seal."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, utils
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from minutier.certificates import encode_pem
from minutier.errors import MinutierError, ServiceUnavailableError
from minutier.seal import check_seal, check_second_seal, seal, second_seal
from storage.pkcs11_signer import DeviceSigner, open_device_signer
from storage.settings import load_settings
from storage.signers import load_journal_key, load_second_signer, load_signer, open_signer
from tests.support.pki import NOW, default_pki, issue, new_key, new_second_signer, rsa_key

PKI = default_pki()
MANIFEST = b'{"a":1}'
MODULES = [Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")]
PIN = "4711"


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, name: str, key, passphrase: bytes | None = None, mode: int = 0o600) -> Path:
        how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.secret(name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), mode)

    def secret(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def chain(self, *chain) -> Path:
        return self.secret("chain.pem", encode_pem(chain), 0o644)


def refusal(code: str, act, *arguments) -> MinutierError:
    with pytest.raises(MinutierError) as caught:
        act(*arguments)
    assert caught.value.code == code
    assert caught.value.remedy
    return caught.value


def seals(signer) -> bool:
    return bool(check_seal(MANIFEST, seal(MANIFEST, signer, NOW), [PKI.root], NOW))


def test_a_key_in_clear_and_an_encrypted_one_seal(files):
    chain = files.chain(PKI.seal)
    assert seals(load_signer(files.key("clear", PKI.seal_key), chain))
    closed, passphrase = files.key("closed", PKI.seal_key, b"four words"), files.secret("words", b"four words\n")
    assert b"ENCRYPTED" in closed.read_bytes()
    assert seals(load_signer(closed, chain, passphrase))


def test_openssl_encrypts_a_key_that_opens_here(files):
    clear, words = files.key("clear", PKI.seal_key), files.secret("words", b"four words\n")
    for name, how in (("pbes2", ["-v2", "aes-256-cbc"]), ("scrypt", ["-scrypt"])):
        made = files.folder / name
        command = ["openssl", "pkcs8", "-topk8", *how, "-in", clear, "-out", made, "-passout", f"file:{words}"]
        subprocess.run(command, check=True, capture_output=True)
        made.chmod(0o600)
        assert seals(load_signer(made, files.chain(PKI.seal), words))


def test_what_is_wrong_with_a_key_file_is_said(files):
    chain, clear = files.chain(PKI.seal), files.key("clear", PKI.seal_key)
    closed = files.key("closed", PKI.seal_key, b"right")
    words = files.secret("words", b"wrong\n")
    assert str(words) in refusal("SEAL_PASSPHRASE", load_signer, closed, chain, words).message
    assert "is encrypted" in refusal("SEAL_PASSPHRASE", load_signer, closed, chain).message
    assert "not encrypted" in refusal("SEAL_PASSPHRASE", load_signer, clear, chain, words).message
    for text in (b"", b"\n", b"two\nlines\n", b"\xff\n"):
        refusal("SEAL_PASSPHRASE", load_signer, closed, chain, files.secret("odd", text))
    refusal("SEAL_KEY", load_signer, files.secret("none", b"no key"), chain)
    refusal("SEAL_KEY", load_signer, files.folder / "absent", chain)
    for name, key in (
        ("p384", ec.generate_private_key(ec.SECP384R1())),
        ("rsa", rsa_key()),
        ("ed", ed25519.Ed25519PrivateKey.generate()),
    ):
        assert "P-256" in refusal("SEAL_KEY", load_signer, files.key(name, key), chain).remedy
    refusal("SEAL_CERTIFICATE", load_signer, clear, files.chain(PKI.tsa, PKI.seal))
    refusal("SEAL_CERTIFICATE", load_signer, clear, files.secret("no.pem", b"no certificate"))
    refusal("SEAL_CERTIFICATE", load_signer, clear, files.folder / "absent")
    refusal("JOURNAL_KEY", load_journal_key, clear)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(files, mode):
    chain = files.chain(PKI.seal)
    refusal("KEY_READABLE_BY_OTHERS", load_signer, files.key("clear", PKI.seal_key, mode=mode), chain)
    words = files.secret("words", b"right", mode)
    refusal("KEY_READABLE_BY_OTHERS", load_signer, files.key("closed", PKI.seal_key, b"right"), chain, words)


def test_a_key_of_second_seals(files):
    made = new_second_signer()
    signer = load_second_signer(files.key("second", made.key), files.chain(*made.chain))
    check_second_seal(MANIFEST, second_seal(MANIFEST, signer, NOW), [made.root], NOW)
    refusal("SEAL_KEY", load_second_signer, files.key("clear", PKI.seal_key), files.chain(*made.chain))
    other = files.key("other", mldsa.MLDSA65PrivateKey.generate())
    refusal("SEAL_CERTIFICATE", load_second_signer, other, files.chain(*made.chain))


def test_the_settings_name_the_key(files, certified_home):
    home, pki = files.folder / "home", certified_home / "pki"
    home.mkdir()
    default = open_signer(load_settings(home, {}), pki / "seal.key", pki / "seal.pem")
    assert "no legal value" in default.chain[0].subject.rfc4514_string()
    files.key("home/sealing.key", PKI.seal_key, b"four words")
    files.secret("home/words", b"four words")
    shutil.copy(files.chain(PKI.seal), home / "sealing.pem")
    (home / "minutier.toml").write_text(
        'seal_certificate = "sealing.pem"\nseal_key = "sealing.key"\nseal_passphrase_file = "words"\n'
    )
    assert seals(open_signer(load_settings(home, {}), pki / "seal.key", pki / "seal.pem"))


DEVICE = {
    "seal_pkcs11_module": "/m.so",
    "seal_pkcs11_token": "t",
    "seal_pkcs11_label": "l",
    "seal_pin_file": "pin",
    "seal_certificate": "c.pem",
}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"seal_key": "k"}, "seal_certificate"),
        ({"seal_certificate": "c"}, "seal_key"),
        ({"seal_certificate": "c", "seal_key": "k", "seal_pin_file": "p"}, "two sealing keys"),
        ({"seal_passphrase_file": "w"}, "seal_key"),
        ({key: value for key, value in DEVICE.items() if key != "seal_pin_file"}, "seal_pin_file"),
        ({key: value for key, value in DEVICE.items() if key != "seal_certificate"}, "seal_certificate"),
        ({"second_seal": "rsa"}, "second_seal"),
    ],
)
def test_settings_that_name_half_a_key_are_refused(tmp_path, given, told):
    environment = {f"MINUTIER_{key.upper()}": value for key, value in given.items()}
    error = refusal("SETTING_INVALID", load_settings, tmp_path, environment)
    assert told in error.message
    assert "seal" in error.message.split(":")[0]


def test_settings_of_a_device_are_whole(tmp_path):
    chosen = load_settings(tmp_path, {f"MINUTIER_{key.upper()}": value for key, value in DEVICE.items()})
    assert (chosen.seal_pkcs11_module, chosen.seal_pin_file) == (Path("/m.so"), tmp_path / "pin")


@dataclasses.dataclass(frozen=True)
class Device:
    module: Path
    folder: Path

    def run(self, *arguments: object) -> None:
        command = ["softhsm2-util", "--module", self.module, *arguments]
        subprocess.run([str(each) for each in command], check=True, capture_output=True)

    def token(self, name: str) -> str:
        self.run("--init-token", "--free", "--label", name, "--so-pin", "0815", "--pin", PIN)
        return name

    def put(self, token: str, label: str, key, number: str = "01") -> None:
        path = self.folder / f"{token}-{number}.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.run("--import", path, "--token", token, "--label", label, "--id", number, "--pin", PIN)


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A SoftHSM2 of its own, with the tokens that the tests use: they are made before the module is loaded here."""
    module = next((path for path in MODULES if path.is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed: infra/bootstrap.sh test")
    import pkcs11

    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    made = Device(module, folder)
    made.put(made.token("seals"), "seal", PKI.seal_key)
    made.put("seals", "twice", PKI.tsa_key, "02")
    made.put("seals", "twice", PKI.root_key, "03")
    made.put("seals", "p384", ec.generate_private_key(ec.SECP384R1()), "04")
    made.put("seals", "rsa", rsa_key(), "05")
    made.put(made.token("closed"), "seal", PKI.seal_key)
    made.put(made.token("unopened"), "seal", PKI.seal_key)
    yield made
    pkcs11.unload(str(module))
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def opened(device, token="seals", label="seal", pin=PIN, chain=(PKI.seal,)) -> DeviceSigner:
    return open_device_signer(device.module, token, label, pin, chain)


def test_a_device_seals_and_openssl_verifies(device, tmp_path):
    signer = opened(device)
    assert seals(signer)
    assert PIN not in repr(signer)
    (tmp_path / "m").write_bytes(MANIFEST)
    (tmp_path / "s").write_bytes(seal(MANIFEST, signer, NOW))
    (tmp_path / "r").write_bytes(PKI.root.public_bytes(Encoding.PEM))
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "s", "-content", "m", "-CAfile", "r"]
    command += ["-attime", str(int(NOW.timestamp())), "-out", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_one_login_serves_many_signatures_and_threads(device):
    signers = [opened(device), opened(device)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda number: seals(signers[number % 2]), range(40)))


def test_a_signature_with_a_short_half_is_der(monkeypatch):
    # A device pads both halves to 32 octets, DER does not.
    from storage import pkcs11_signer

    def short_signature(digest: bytes, **_) -> bytes:
        while True:
            signature = PKI.seal_key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
            r, s = utils.decode_dss_signature(signature)
            if r < 1 << 247:
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    monkeypatch.setattr(pkcs11_signer, "_key", lambda _: SimpleNamespace(sign=short_signature))
    signer = DeviceSigner(Path("/nowhere.so"), "seals", "seal", PIN, (PKI.seal,))
    assert len(signer.sign(b"tbs")) < 71
    assert seals(signer)


def test_what_is_wrong_with_a_device_is_said(device):
    refusal("SEAL_PIN", opened, device, "closed", "seal", "0000")
    refusal("SEAL_DEVICE", opened, device, "absent")
    refusal("SEAL_DEVICE", opened, device, "seals", "absent")
    refusal("SEAL_DEVICE", opened, device, "seals", "twice")
    refusal("SEAL_KEY", opened, device, "seals", "rsa")
    refusal("SEAL_CERTIFICATE", opened, device, "seals", "p384")
    refusal("SEAL_CERTIFICATE", opened, device, "seals", "seal", PIN, (PKI.tsa,))
    refusal("SEAL_DEVICE", open_device_signer, Path("/nowhere.so"), "seals", "seal", PIN, (PKI.seal,))
    assert seals(opened(device, "closed"))


def test_a_key_that_shows_no_public_half_is_held_against_its_certificate_at_the_first_seal(device):
    signer = DeviceSigner(device.module, "seals", "seal", PIN, (issue("Other", new_key()),))
    refusal("SEAL_CERTIFICATE", signer.sign, b"tbs")


def test_a_session_that_was_closed_is_opened_again(device):
    from storage import pkcs11_signer

    signer = opened(device)
    pkcs11_signer._session(signer).close()
    assert seals(signer)


def test_a_device_that_went_away_is_a_service_that_is_down(device, monkeypatch):
    from pkcs11.exceptions import DeviceRemoved

    from storage import pkcs11_signer

    signer = opened(device)

    def gone(_):
        raise DeviceRemoved

    monkeypatch.setattr(pkcs11_signer, "_key", gone)
    error = refusal("SEAL_DEVICE_DOWN", signer.sign, b"tbs")
    assert isinstance(error, ServiceUnavailableError)
    refusal("SEAL_DEVICE_DOWN", opened, device)


def test_the_settings_name_a_device(device, files):
    pin, chain = files.secret("pin", f"{PIN}\n".encode()), files.chain(PKI.seal)
    named = {
        "MINUTIER_SEAL_PKCS11_MODULE": str(device.module), "MINUTIER_SEAL_PKCS11_TOKEN": "seals",
        "MINUTIER_SEAL_PKCS11_LABEL": "seal", "MINUTIER_SEAL_PIN_FILE": str(pin),
        "MINUTIER_SEAL_CERTIFICATE": str(chain),
    }  # fmt: skip
    chosen = load_settings(files.folder, named)
    assert seals(open_signer(chosen, Path(), Path()))
    assert PIN not in repr(chosen)
    pin.chmod(0o644)
    refusal("KEY_READABLE_BY_OTHERS", open_signer, chosen, Path(), Path())
    pin.chmod(0o600)
    files.chain(issue("P-384", ec.generate_private_key(ec.SECP384R1())))
    refusal("SEAL_KEY", open_signer, chosen, Path(), Path())


def test_a_pin_that_was_refused_is_not_tried_again_until_it_changes(device, files, monkeypatch):
    # A device locks after some wrong tries, and runs are scheduled.
    from storage import signers

    tries = []
    whole = signers.open_device_signer
    monkeypatch.setattr(signers, "open_device_signer", lambda *given: tries.append(given) or whole(*given))
    pin, chain = files.secret("pin", b"0000\n"), files.chain(PKI.seal)
    named = {
        "MINUTIER_SEAL_PKCS11_MODULE": str(device.module), "MINUTIER_SEAL_PKCS11_TOKEN": "unopened",
        "MINUTIER_SEAL_PKCS11_LABEL": "seal", "MINUTIER_SEAL_PIN_FILE": str(pin),
        "MINUTIER_SEAL_CERTIFICATE": str(chain),
    }  # fmt: skip
    chosen = load_settings(files.folder, named)
    for _ in range(3):
        refusal("SEAL_PIN", open_signer, chosen, Path(), Path())
    assert len(tries) == 1
    files.secret("pin", f"{PIN}\n".encode())
    for _ in range(2):
        assert seals(open_signer(chosen, Path(), Path()))
    assert len(tries) == 3
    assert not (files.folder / "run" / "refused-pin").exists()


def test_the_private_key_stays_in_the_device(device):
    from pkcs11 import Attribute
    from pkcs11.exceptions import AttributeSensitive

    from storage import pkcs11_signer

    with pytest.raises(AttributeSensitive):
        pkcs11_signer._key(opened(device))[Attribute.VALUE]
