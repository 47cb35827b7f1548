"""A program whose clock is wrong: `python -m tests.support.moved_clock SECONDS PROGRAM ARGUMENT…`.

faketime replaces functions of the C library, which a program in Go does not call. Here the function itself is
replaced: before its first instruction, `clock_gettime` of the vDSO (vdso(7)), which the kernel maps into every
process, is overwritten in this process alone with one that adds SECONDS to the time of day. Monotonic clocks stay.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

# Numbers of ptrace, prctl and waitpid.
_CONT, _SEIZE, _DETACH, _TRACE_EXEC, _EVENT_EXEC = 7, 0x4206, 17, 0x10, 4
_SET_PTRACER, _WALL = 0x59616D61, 0x40000000
_FUNCTIONS = (b"__vdso_clock_gettime", b"__vdso_gettimeofday", b"__vdso_time")


def supported() -> str | None:
    """Give None where clocks can be moved, else the reason why not."""
    return None if platform.machine() == "x86_64" else "the clock of a process is moved on x86-64 alone"


def command(seconds: int, program: Sequence[object]) -> list[str]:
    """Give the command that runs `program` with its clock moved; the pid is the program's own."""
    return [sys.executable, "-m", "tests.support.moved_clock", str(seconds), *(str(each) for each in program)]


def clock_gettime(seconds: int) -> bytes:
    """Give the machine code: the system call itself, then SECONDS more when the clock asked for is the time of day."""
    return (
        b"\xb8\xe4\x00\x00\x00"  # mov eax, 228
        b"\x0f\x05"  # syscall
        b"\x85\xff"  # test edi, edi      ; CLOCK_REALTIME is 0
        b"\x75\x0d"  # jnz over
        b"\x48\xb9" + struct.pack("<q", seconds) + b"\x48\x01\x0e"  # mov rcx, SECONDS; add [rsi], rcx
        b"\xc3"  # over: ret
    )


def gettimeofday(seconds: int) -> bytes:
    """Give the machine code: the system call, then SECONDS more where a place for the time was given."""
    return (
        b"\xb8\x60\x00\x00\x00\x0f\x05"  # mov eax, 96; syscall
        b"\x48\x85\xff\x74\x0d"  # test rdi, rdi; jz over
        b"\x48\xb9" + struct.pack("<q", seconds) + b"\x48\x01\x0f\xc3"  # mov rcx, SECONDS; add [rdi], rcx; over: ret
    )


def time(seconds: int) -> bytes:
    """Give the machine code: the system call, SECONDS more, and the place filled where one was given."""
    return (
        b"\x57\x31\xff\xb8\xc9\x00\x00\x00\x0f\x05\x5f"  # push rdi; xor edi, edi; mov eax, 201; syscall; pop rdi
        b"\x48\xb9" + struct.pack("<q", seconds) + b"\x48\x01\xc8"  # mov rcx, SECONDS; add rax, rcx
        b"\x48\x85\xff\x74\x03\x48\x89\x07\xc3"  # test rdi, rdi; jz over; mov [rdi], rax; over: ret
    )


def places(image: bytes) -> dict[bytes, int]:
    """Give the offset of each function of time in the image of a vDSO: an ELF shared object, read by its sections."""
    start, size, count = struct.unpack_from("<Q", image, 40)[0], *struct.unpack_from("<HH", image, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, start + number * size) for number in range(count)]
    found = {}
    for _, kind, _, _, offset, length, link, _, _, each in sections:
        if kind != 11:  # SHT_DYNSYM
            continue
        names = sections[link][4]
        for symbol in range(offset, offset + length, each):
            name, value = struct.unpack_from("<I", image, symbol)[0], struct.unpack_from("<Q", image, symbol + 8)[0]
            text = image[names + name : image.index(b"\0", names + name)]
            if text in _FUNCTIONS:
                found[text] = value
    return found


def move(pid: int, seconds: int) -> None:
    """Overwrite the functions in a stopped process that is traced by this one."""
    with Path(f"/proc/{pid}/maps").open(encoding="ascii") as maps:
        line = next(line for line in maps if line.rstrip().endswith("[vdso]"))
    first, last = (int(each, 16) for each in line.split()[0].split("-"))
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(first)
        found = places(memory.read(last - first))
        for name, make in zip(_FUNCTIONS, (clock_gettime, gettimeofday, time), strict=True):
            memory.seek(first + found[name])
            memory.write(make(seconds))


def trace(libc: ctypes.CDLL, pid: int, seconds: int, ready: int) -> None:
    """Wait for `pid` to become its program, move its clock, and let it go; it does not start with a clock unmoved."""
    try:
        if libc.ptrace(_SEIZE, pid, None, _TRACE_EXEC) != 0:
            raise OSError(ctypes.get_errno(), "the program may not be traced")
        os.write(ready, b"!")
        os.close(ready)
        while True:
            _, status = os.waitpid(pid, _WALL)
            if not os.WIFSTOPPED(status):
                return  # it ended before
            if status >> 8 == signal.SIGTRAP | _EVENT_EXEC << 8:
                break
            libc.ptrace(_CONT, pid, None, os.WSTOPSIG(status))  # a signal on its way, such as that of a child's end
        move(pid, seconds)
        libc.ptrace(_DETACH, pid, None, None)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise


def main(arguments: Sequence[str]) -> None:
    """Become the program; a process that is no child of it moves the clock at its first instruction, and ends."""
    seconds, program = int(arguments[0]), list(arguments[1:])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    own, (reading, ready) = os.getpid(), os.pipe()
    libc.prctl(_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0)  # where the kernel lets only ancestors trace
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            trace(libc, own, seconds, ready)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(ready)
    if os.read(reading, 1) != b"!":
        sys.exit("the clock of this program cannot be moved: it may not be traced")
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
