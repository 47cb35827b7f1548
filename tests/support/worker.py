"""A worker in a process of its own, made to be killed: it delivers documents and writes down what it was told.

What it writes with one `write` outlives it, so that what the archive acknowledged is known whatever happens next.
Processes are forked from a server that has imported everything (multiprocessing, `forkserver`): a worker starts in
a tenth of a second and shares no connection with anyone.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

import httpx

from minutier.errors import ServiceUnavailableError
from storage import seam
from storage.archive import Archive
from storage.bootstrap import open_archive
from storage.fetching import tls
from storage.reception import Delivery, receive
from tests.support.machine import Instance
from tests.support.rig import carry

SAFE, LIFECYCLE_CLASS = "demo", "default"
PATIENCE = 240.0
"""Seconds during which a worker asks again while services are killed and started around it."""

_Result = TypeVar("_Result")
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.support.worker"])
# httpx imports its transport with its first client, and roots are read with the first TLS: once for all workers.
httpx.Client(verify=tls()).close()


@dataclass(frozen=True)
class Work:
    """What one worker delivers, one reference after another, until the list ends or `stop` is there."""

    instance: Instance
    references: tuple[str, ...]
    log: Path
    stop: Path
    seed: int = 0
    deaths: tuple[tuple[int, str], ...] = ()
    """For each delivery, the call to a port (storage/seam.py) and the moment at which its first worker dies."""
    plant: Callable[[], None] | None = None
    """A fault planted in the worker before it works: a function of a module."""
    only_receive: bool = False


@dataclass(frozen=True)
class Told:
    """One line of a log: `event` is begun, received, archived, or trouble, about the delivery of that number."""

    event: str
    number: int
    reference: str
    detail: str


@dataclass
class Worker:
    """A place where a worker works: another one takes it, with the rest of the list, when one was killed."""

    work: Work
    process: BaseProcess | None = field(default=None)
    done: int = 0

    def start(self) -> None:
        """Start a process on the deliveries that were not acknowledged as archived."""
        self.done = sum(line.event == "archived" for line in told(self.work.log))
        self.process = _processes.Process(target=deliver_all, args=(self.work, self.done))
        self.process.start()

    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def kill(self) -> bool:
        """Kill it with SIGKILL; False when it had ended by itself, by the word of the kernel."""
        assert self.process is not None
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -9

    def ended_well(self) -> bool:
        return self.process is not None and self.process.exitcode == 0


def content(seed: int, reference: str) -> bytes:
    """Give the document that is delivered under a reference: 1 to 40 kB that no other reference has."""
    draw = random.Random(f"{seed}:{reference}")
    return b"%PDF-1.7 " + draw.randbytes(draw.randint(1_000, 40_000))


def deliver_all(work: Work, first: int) -> None:
    """Make the deliveries from number `first` on."""
    begun = {line.number for line in told(work.log)}
    log = os.open(work.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(event: str, number: int, reference: str, detail: str) -> None:
        os.write(log, json.dumps([event, number, reference, detail]).encode() + b"\n")

    # The pool says of every refused connection what a killed server makes of course.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    number, reference = first, ""
    try:
        if work.plant is not None:
            work.plant()
        archive = insist(lambda: open_archive(work.instance.settings))
        with closing(archive.database):
            for number, reference in list(enumerate(work.references))[first:]:
                if work.stop.exists():
                    return
                tell("begun", number, reference, "")
                seam.install(dying_at(*work.deaths[number]) if work.deaths and number not in begun else None)
                archive_id = receive_one(archive, work, reference)
                tell("received", number, reference, archive_id)
                if work.only_receive:
                    continue
                (found,) = insist(lambda: carry(archive, [archive_id]))  # noqa: B023 - called at once
                tell("archived" if found.state == "ARCHIVED" else "trouble", number, reference, found.archive_id)
    except Exception:
        tell("trouble", number, reference, traceback.format_exc())
        raise


def dying_at(number: int, moment: str) -> seam.Hook:
    """Give the hook that ends the process with SIGKILL at one call."""

    def hook(call: seam.Call) -> None:
        if (call.number, call.moment) == (number, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def receive_one(archive: Archive, work: Work, reference: str) -> str:
    """Deliver one document, and give its archive_id."""
    path = work.log.with_suffix(".document")
    path.write_bytes(content(work.seed, reference))
    delivery = Delivery(path, SAFE, LIFECYCLE_CLASS, reference, "tests", name=f"{reference}.pdf")
    return insist(lambda: receive(archive, delivery)).archive_id


def insist(act: Callable[[], _Result]) -> _Result:
    """Ask again as long as a service is said to be away; any other error is passed on."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except ServiceUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def told(log: Path) -> Iterator[Told]:
    """Read a log; a line that a killed worker left unfinished was never said."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return (Told(*json.loads(line)) for line in lines)
