"""External programs on hostile documents: no network, and nothing of this machine to read but its programs.

Called in the isolated child only (tasks/isolate.py), whose limits and whose end they share. The walls are those of
bubblewrap; where it is absent, or the system allows no namespaces, only the limits of the child remain, which the
report of the rendition says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

WORK = "/work"
"""Where the program finds its folder, the only place it may write to."""
_VARIABLES = {"LANG": "C.UTF-8", "TZ": "UTC", "OMP_THREAD_LIMIT": "1"}
"""One document, one core: threads of one page mostly wait for each other."""
_MERGED = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
_READ = ("/usr", "/etc/fonts", "/etc/ld.so.cache", "/etc/libreoffice", "/etc/alternatives", "/var/lib/libreoffice")


def walls() -> str:
    """Give the name and version of what confines programs here: bubblewrap, or "limits only"."""
    return _bubblewrap() or "limits only"


@cache
def _bubblewrap() -> str:
    program = shutil.which("bwrap")
    if program is None:
        return ""
    try:
        subprocess.run([*_confined(program, Path("/")), "/usr/bin/true"], check=True, capture_output=True, timeout=10)
        told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, timeout=10)
    except (subprocess.SubprocessError, OSError):
        return ""
    return told.stdout.strip()


def _confined(program: str, folder: Path) -> list[str]:
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    for name, value in {"PATH": "/usr/bin", "HOME": WORK, **_VARIABLES}.items():
        command += ["--setenv", name, value]
    for place in _READ:
        command += ["--ro-bind-try", place, place]
    for name, target in _MERGED.items():
        command += ["--symlink", target, name] if Path(name).is_symlink() else ["--ro-bind-try", name, name]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - inside
    return [*command, "--bind", str(folder), WORK, "--chdir", WORK, "--"]


def run_program(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a program that may read and write `folder` alone, which is also its directory and its home.

    Names of files in the arguments are relative. The time is the child's, which is killed with all that it started.
    """
    program = shutil.which("bwrap")
    if _bubblewrap() and program:
        return subprocess.run([*_confined(program, folder), *arguments], capture_output=True, check=False)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **_VARIABLES}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, check=False)


@cache
def version_of(program: str) -> str:
    """Give the version that a program says of itself, "" when it is absent."""
    if shutil.which(program) is None:
        return ""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r"[0-9]+(?:\.[0-9]+)+", told.stdout + told.stderr)
    return found[0] if found else ""
