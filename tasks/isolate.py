"""Isolation: hostile documents are parsed in a child process with limits, never in the caller.

`run_isolated("tasks.inspection:inspect_pdf", {...}, timeout=20)` sends one JSON request to a warmed worker
(`python -m tasks.isolate`), which forks one child per request. The child has its own session, RLIMIT_AS, RLIMIT_CPU,
RLIMIT_FSIZE, no core file, a bare environment (TZ=UTC: dates without a zone are read as UTC on every machine) and dies
with the worker. A fork from the single-threaded, warmed worker costs a few milliseconds; the caller, which may have
many threads, never forks. The worker ends when its caller closes the pipe.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from minutier.errors import MinutierError, ServiceUnavailableError

_ROOT = Path(__file__).resolve().parents[1]
_HEADER = struct.Struct(">I")
_MAX_MESSAGE = 16 << 20
_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_IDLE_WORKERS = max(2, os.cpu_count() or 1)
_MAX_FILE_BYTES = 4 << 30
_PR_SET_PDEATHSIG = 1


class IsolationFaultError(MinutierError):
    """The child did not give a result. Codes: TIMEOUT, CPU, MEMORY, CRASH (signal), ERROR (unexpected exception)."""

    exit_code = 2

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, remedy="The document is set aside; nothing else is touched.")


class _PipeClosedError(Exception):
    """The other end of the pipe is gone."""


def run_isolated(
    function: str,
    arguments: dict[str, Any],
    *,
    timeout: float,
    cpu_seconds: float | None = None,
    memory_bytes: int = 2 << 30,
) -> Any:
    """Call `function` ("tasks.module:name") with JSON-able keyword `arguments` in a limited child; give its result.

    `timeout` is in seconds of wall time, `cpu_seconds` in seconds of CPU time (the same when None; rounded up),
    `memory_bytes` bounds the address space. Raises `IsolationFaultError` when the child gave no result,
    `ServiceUnavailableError` (code `WORKER_DOWN`) when no worker could be started.
    """
    request = {
        "function": function,
        "arguments": arguments,
        "timeout": timeout,
        "cpu": timeout if cpu_seconds is None else cpu_seconds,
        "memory": memory_bytes,
    }
    try:
        answer = _ask(_POOL.take(), request, timeout)
    except _PipeClosedError:
        # The idle worker was gone (killed by the system, say): a new one answers, once.
        try:
            answer = _ask(_Worker(), request, timeout)
        except _PipeClosedError as error:
            raise _worker_down(f"The isolated worker stopped twice: {error}.") from error
    if "result" in answer:
        return answer["result"]
    raise IsolationFaultError(str(answer["fault"]), str(answer["detail"]))


def _ask(worker: _Worker, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Ask one worker; it goes back among the idle ones, or is closed when anything went wrong."""
    try:
        answer = worker.ask(request, timeout)
    except BaseException:
        worker.close()
        raise
    _POOL.give(worker)
    return answer


def close_workers() -> None:
    """Stop the idle workers of this process; the next call starts new ones."""
    _POOL.close()


def _worker_down(message: str) -> ServiceUnavailableError:
    return ServiceUnavailableError("WORKER_DOWN", message, remedy="Check memory and process limits, then try again.")


class _Worker:
    """One `python -m tasks.isolate` process, used by one thread at a time."""

    def __init__(self) -> None:
        self._started = False
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(_ROOT),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.isolate"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
                start_new_session=True,  # an interrupt at the terminal is for the caller to handle
            )
        except OSError as error:
            raise _worker_down(f"The isolated worker could not be started: {error}.") from error
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the worker has no pipe")
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()

    @property
    def usable(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout + _GRACE_SECONDS + (0 if self._started else _START_SECONDS)
        _write_message(self._to, request)
        answer = _read_message(self._from, deadline)
        self._started = True
        return answer

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Pool:
    """Idle workers of this process. A forked copy of the process starts with none."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)
        atexit.register(self.close)

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def take(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return _Worker()
            if worker.usable:
                return worker
            worker.close()

    def give(self, worker: _Worker) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_WORKERS:
                self._idle.append(worker)
                return
        worker.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()


def _write_message(descriptor: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    view = memoryview(_HEADER.pack(len(data)) + data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError as error:
        raise _PipeClosedError("it closed its input") from error


def _read_message(descriptor: int, deadline: float | None) -> dict[str, Any]:
    (size,) = _HEADER.unpack(_read_exactly(descriptor, _HEADER.size, deadline))
    if size > _MAX_MESSAGE:
        raise _PipeClosedError("it sent a message over the limit")
    message: dict[str, Any] = json.loads(_read_exactly(descriptor, size, deadline))
    return message


def _read_exactly(descriptor: int, size: int, deadline: float | None) -> bytes:
    data = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(data) < size:
        if deadline is not None and not poll.poll(max(0, math.ceil((deadline - time.monotonic()) * 1000))):
            raise _PipeClosedError("it did not answer in time")
        piece = os.read(descriptor, size - len(data))
        if not piece:
            raise _PipeClosedError("it ended")
        data += piece
    return data


_POOL = _Pool()


# --- the worker's side -------------------------------------------------------------------------------------------


def _resolve(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    if not module.startswith("tasks."):
        raise ValueError("only functions of the tasks package run here")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def _limit(cpu_seconds: float, memory: int) -> None:
    seconds = math.ceil(cpu_seconds)
    _lower(resource.RLIMIT_CORE, 0, 0)
    _lower(resource.RLIMIT_CPU, seconds, seconds + 1)
    _lower(resource.RLIMIT_FSIZE, _MAX_FILE_BYTES, _MAX_FILE_BYTES)
    _lower(resource.RLIMIT_AS, memory, memory)


def _lower(what: int, soft: int, hard: int) -> None:
    """Set a limit, or leave the caller's where it is lower: raising it would end the worker, not the document."""
    _, allowed = resource.getrlimit(what)
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    resource.setrlimit(what, (soft, hard))


def _child(request: dict[str, Any], write_end: int, parent: int) -> NoReturn:
    """Run one request under limits, write one JSON object to `write_end` and end without any clean-up of the worker."""
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.closerange(3, write_end)  # the worker's own pipes are not for the child
        os.closerange(write_end + 1, 256)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        _limit(float(request["cpu"]), int(request["memory"]))
        answer: dict[str, Any]
        try:
            answer = {"result": _resolve(request["function"])(**request["arguments"])}
            data = json.dumps(answer).encode()
        except MemoryError:
            data = b'{"fault": "MEMORY", "detail": "The document needs more memory than one document may use."}'
        except Exception as error:  # noqa: BLE001 - process boundary: the verdict goes to the caller as a code
            detail = f"{type(error).__name__}: {error}"[:500]
            data = json.dumps({"fault": "ERROR", "detail": detail}).encode()
        view = memoryview(data)
        while view:
            view = view[os.write(write_end, view) :]
        code = 0
    finally:
        os._exit(code)


def _collect(pid: int, read_end: int, timeout: float) -> bytes | None:
    """Read the child's answer until it closes the pipe; None when the wall time is over or the caller went away."""
    deadline, data = time.monotonic() + timeout, b""
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        events = poll.poll(max(0, math.ceil((deadline - time.monotonic()) * 1000)))
        if not events:
            return None
        if any(descriptor == 0 for descriptor, _ in events):
            # The caller sends nothing while it waits: this is the end of its pipe.
            os.killpg(pid, signal.SIGKILL)
            os._exit(0)
        piece = os.read(read_end, 1 << 16)
        if not piece:
            return data
        data += piece


def _serve_one(request: dict[str, Any]) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _child(request, write_end, worker)
    os.close(write_end)
    try:
        data = _collect(pid, read_end, float(request["timeout"]))
    finally:
        os.close(read_end)
        try:
            os.killpg(pid, signal.SIGKILL)  # also whatever the child may have started
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)  # it had not yet made its session
        _, status = os.waitpid(pid, 0)
    if data is None:
        return {"fault": "TIMEOUT", "detail": f"The document took more than {request['timeout']:g} seconds."}
    if data:
        try:
            answer: dict[str, Any] = json.loads(data)
            return answer
        except ValueError:
            return {"fault": "CRASH", "detail": "The child ended in the middle of its answer."}
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU,):
        return {"fault": "CPU", "detail": f"The document took more than {request['cpu']:g} seconds of CPU time."}
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"fault": "CRASH", "detail": f"The child ended without an answer (status {number})."}


def main() -> None:
    """Serve requests from standard input until it is closed."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever an engine prints must not mix with the answers
    importlib.import_module("tasks.inspection").warm()
    importlib.import_module("tasks.pdfa").warm()
    importlib.import_module("tasks.pronom").warm()
    gc.collect()
    gc.freeze()  # fewer pages copied after each fork
    # A child ends soon, with all its memory: collecting as often as Python usually does only costs time.
    gc.set_threshold(50_000, 20, 100)
    while True:
        try:
            request = _read_message(0, None)
        except _PipeClosedError:
            return
        _write_message(answers, _serve_one(request))


if __name__ == "__main__":
    main()
