"""The isolated worker: results, faults of every kind, recovery, threads, and what the child may see."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.isolate import IsolationFaultError, close_workers, run_isolated


def test_a_result_comes_back_as_json() -> None:
    versions = run_isolated("tasks.pdfa:versions", {}, timeout=30)
    assert set(versions) == {"pikepdf", "qpdf", "img2pdf", "pillow"}


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A worker whose `tasks` package also holds functions that hang, crash, and eat memory."""
    root = Path(__file__).resolve().parents[2]
    package = tmp_path / "tasks"
    package.mkdir()
    (package / "__init__.py").write_text(f"__path__.append({str(root / 'tasks')!r})\n")
    (package / "hostile.py").write_text(
        textwrap.dedent(
            """
            import os, signal, time
            def sleep(): time.sleep(60)
            def spin():
                while True: pass
            def crash(): os.kill(os.getpid(), signal.SIGSEGV)
            def leave(): os._exit(3)
            def eat(): return len(bytearray(8 << 30))
            def raise_it(): raise KeyError("secret")
            def noise(): print("text for nobody"); return "fine"
            def unserialisable(): return object()
            def surroundings():
                return {"environment": sorted(os.environ), "zone": time.tzname[0],
                        "session": os.getsid(0) == os.getpid(),
                        "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd"))}
            def write_too_much(path):
                with open(path, "wb") as f: f.truncate(8 << 30)
            """
        )
    )
    script = tmp_path / "call.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import json, sys
            sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]
            from pathlib import Path
            from tasks import isolate
            isolate._ROOT = Path({str(tmp_path)!r})
            out = []
            for name, timeout, arguments in json.loads(sys.argv[1]):
                try:
                    cpu = arguments.pop("cpu_seconds", None)
                    out.append(
                        isolate.run_isolated("tasks.hostile:" + name, arguments, timeout=timeout, cpu_seconds=cpu)
                    )
                except isolate.IsolationFaultError as fault:
                    out.append([fault.code, fault.message])
            isolate.close_workers()
            print(json.dumps(out))
            """
        )
    )
    return str(script)


def _call(script: str, *calls: tuple[str, float, dict[str, object]]) -> list[object]:
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, script, json.dumps(calls)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, "SECRET_OF_THE_CALLER": "1", "TZ": "Asia/Tokyo"},
    )
    result: list[object] = json.loads(done.stdout)
    return result


def test_every_fault_has_its_code_and_the_worker_goes_on(hostile: str, tmp_path: Path) -> None:
    faults = _call(
        hostile,
        ("sleep", 0.5, {}),
        ("spin", 1.0, {}),
        ("crash", 10, {}),
        ("leave", 10, {}),
        ("eat", 10, {}),
        ("raise_it", 10, {}),
        ("unserialisable", 10, {}),
        ("write_too_much", 10, {"path": str(tmp_path / "big")}),
        ("noise", 10, {}),
    )
    (used,) = _call(hostile, ("spin", 30.0, {"cpu_seconds": 1}))
    assert isinstance(used, list)
    assert used[0] == "CPU"
    codes = [fault[0] if isinstance(fault, list) else fault for fault in faults]
    assert codes[0] == "TIMEOUT"
    assert codes[1] in {"TIMEOUT", "CPU"}
    assert codes[2:] == ["CRASH", "CRASH", "MEMORY", "ERROR", "ERROR", "ERROR", "fine"]


def test_the_child_sees_neither_the_environment_nor_the_pipes_of_the_caller(hostile: str) -> None:
    (seen,) = _call(hostile, ("surroundings", 10, {}))
    assert isinstance(seen, dict)
    assert "SECRET_OF_THE_CALLER" not in seen["environment"]
    assert seen["zone"] == "UTC"
    assert seen["session"]
    assert len(seen["descriptors"]) <= 5  # the standard three, its own pipe, the listing itself


def test_only_functions_of_the_tasks_package_run() -> None:
    with pytest.raises(IsolationFaultError, match="only functions of the tasks package"):
        run_isolated("os:getcwd", {}, timeout=5)


def test_many_threads_share_the_workers() -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: run_isolated("tasks.pdfa:versions", {}, timeout=30), range(24)))
    assert all(result == results[0] for result in results)


def test_a_killed_worker_is_replaced() -> None:
    run_isolated("tasks.pdfa:versions", {}, timeout=30)
    from tasks import isolate

    for worker in isolate._POOL._idle:
        os.kill(worker._process.pid, signal.SIGKILL)
    assert run_isolated("tasks.pdfa:versions", {}, timeout=30)


def test_a_call_costs_little_once_warm() -> None:
    run_isolated("tasks.pdfa:versions", {}, timeout=30)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        run_isolated("tasks.pdfa:versions", {}, timeout=30)
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.5  # about 5 ms on a quiet machine; the bound is for a loaded one


def test_workers_stop_when_asked() -> None:
    from tasks import isolate

    run_isolated("tasks.pdfa:versions", {}, timeout=30)
    pids = [worker._process.pid for worker in isolate._POOL._idle]
    close_workers()
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_limits_of_the_caller_that_are_lower_stay():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from tasks.isolate import close_workers, run_isolated;"
        "print(run_isolated('tasks.pdfa:versions', {}, timeout=60)); close_workers()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "pikepdf" in done.stdout) == (0, True), done.stderr
