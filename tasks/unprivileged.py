"""Runs a program as another user: `python -m tasks.unprivileged UID PROGRAM ARGUMENT…`, called as root.

PostgreSQL refuses to run as root. The user it gets instead may have no way through the directories above the
instance or above the Python environment (a home of mode 0700). Widening those directories would change the machine
for good; here the program keeps one capability instead, CAP_DAC_OVERRIDE (capabilities(7)), and only when needed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

from minutier.errors import ServiceUnavailableError

ACCOUNT = "minutier"
CAP_DAC_OVERRIDE = 1
PR_SET_SECUREBITS = 28
# Keep the capability through setresuid(2), and let access(2) count it.
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def account() -> int:
    """Give the uid of the system account `minutier`, made when it is missing."""
    # One process at a time: of two useradd(8) at once, one was seen to undo what the other had done.
    accounts = os.open("/etc", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(accounts, fcntl.LOCK_EX)
        return _found_or_made()
    finally:
        os.close(accounts)


def _found_or_made() -> int:
    try:
        return pwd.getpwnam(ACCOUNT).pw_uid
    except KeyError:
        pass
    made = subprocess.run(
        ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode not in (0, 9):  # 9: it is there
        raise ServiceUnavailableError(
            "NO_ACCOUNT",
            f"PostgreSQL cannot run as root, and the account {ACCOUNT} cannot be made: {made.stderr.strip()}.",
            remedy="Run minutier as a normal user.",
        )
    return pwd.getpwnam(ACCOUNT).pw_uid


def as_user(uid: int | None, command: list[str]) -> list[str]:
    """Give the command that runs `command` as `uid`; unchanged for None (the caller's own user)."""
    if uid is None:
        return command
    return [sys.executable, "-P", "-m", "tasks.unprivileged", str(uid), *command]


def may_pass(uid: int, path: Path) -> bool:
    """Tell whether every directory above `path` lets that user through (groups are left aside)."""
    for directory in path.resolve().parents:
        status = directory.stat()
        needed = stat.S_IXUSR if status.st_uid == uid else stat.S_IXOTH
        if not status.st_mode & needed:
            return False
    return True


def become(uid: int, *, keep_passage: bool) -> None:
    """Turn this process into `uid`, without its groups, with CAP_DAC_OVERRIDE alone or with no capability at all."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:  # an instance that came from another machine
        gid = uid
    if keep_passage:
        call(libc.prctl(PR_SET_SECUREBITS, ctypes.c_ulong(SECBIT_NO_SETUID_FIXUP), 0, 0, 0), "prctl securebits")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if keep_passage:
        data = (_Data * 2)()
        data[0].effective = data[0].permitted = data[0].inheritable = 1 << CAP_DAC_OVERRIDE
        call(libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), data), "capset")
        raised = libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, ctypes.c_ulong(CAP_DAC_OVERRIDE), 0, 0)
        call(raised, "prctl ambient")


def main(arguments: list[str]) -> None:
    """Become the user and run the program in place of this one."""
    uid, program, directory = int(arguments[0]), Path(arguments[1]), Path.cwd()
    passage = may_pass(uid, program) and may_pass(uid, directory / "any")
    try:
        become(uid, keep_passage=not passage)
    except OSError as error:
        sys.exit(
            f"cannot leave root ({error}): put the instance and the program where every user may pass, for example"
            " under /srv, or run minutier as a normal user"
        )
    os.execv(program, arguments[1:])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
