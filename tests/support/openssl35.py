"""The `openssl` command twice: as the system has it, and on a libcrypto of 3.5 or later, which knows ML-DSA.

The second is the same command on the libcrypto shipped inside the psycopg-binary wheel, found first by the loader.
Where the wheel has none, or the command does not run on it, the reason is given and the tests that need it are skipped;
a system whose own `openssl` is 3.5 or later needs no such help.
"""

from __future__ import annotations

import atexit
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

WANTED = (3, 5)
_LIBRARY = re.compile(r"\(Library: OpenSSL (\d+)\.(\d+)\.")


class NoOpenSslError(RuntimeError):
    """No libcrypto of the wanted age is here; the message says what was looked at."""


@dataclass(frozen=True)
class OpenSsl:
    """An `openssl` command: `program` is its path, and the last part of that is `openssl`."""

    program: Path

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it in `folder`."""
        return subprocess.run(
            [str(self.program), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )

    def library(self) -> tuple[int, int]:
        """Give the major and minor version of the libcrypto that it really runs on."""
        said = self.run(Path.cwd(), "version")
        match = _LIBRARY.search(said.stdout)
        if said.returncode != 0 or match is None:
            raise NoOpenSslError(f"openssl does not run: {said.stdout}{said.stderr}")
        return int(match[1]), int(match[2])


def system_openssl() -> OpenSsl:
    """Give the command of the system."""
    found = shutil.which("openssl")
    if found is None:
        raise NoOpenSslError("the command openssl is not installed")
    return OpenSsl(Path(found))


@cache
def recent_openssl() -> OpenSsl:
    """Give a command on libcrypto 3.5 or later; NoOpenSslError says why there is none."""
    if system_openssl().library() >= WANTED:
        return system_openssl()
    folder = Path(tempfile.mkdtemp(prefix="minutier-openssl-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _link_libraries(folder)
    found = OpenSsl(_wrapper(folder))
    version = found.library()
    if version < WANTED:
        raise NoOpenSslError(f"the libcrypto of psycopg-binary is {version[0]}.{version[1]}, 3.5 or later is needed")
    return found


def _link_libraries(folder: Path) -> None:
    """Lead the names that the loader looks for to the libraries of the wheel."""
    package = find_spec("psycopg_binary")
    if package is None or package.origin is None:
        raise NoOpenSslError("the wheel psycopg-binary is not installed")
    shipped = Path(package.origin).parents[1] / "psycopg_binary.libs"
    for name in ("libcrypto", "libssl"):
        candidates = list(shipped.glob(f"{name}-*.so.3"))
        if len(candidates) != 1:
            raise NoOpenSslError(f"psycopg-binary ships {len(candidates)} {name}, one is expected")
        (folder / f"{name}.so.3").symlink_to(candidates[0])


def _wrapper(folder: Path) -> Path:
    """Write a command that runs the one of the system on the libraries in `folder`.

    The place of the configuration is compiled in, and is one of the machine that built the wheel. `openssl ts` does not
    run without one, so an empty one is named when the caller names none.
    """
    (folder / "openssl.cnf").touch()
    program = folder / "openssl"
    program.write_text(
        "#!/bin/sh\n"
        f": ${{OPENSSL_CONF:={shlex.quote(str(folder / 'openssl.cnf'))}}}\n"
        f"export OPENSSL_CONF LD_LIBRARY_PATH={shlex.quote(str(folder))}\n"
        f'exec {shlex.quote(str(system_openssl().program))} "$@"\n'
    )
    program.chmod(0o755)
    return program
