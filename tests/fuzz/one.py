"""One target under libFuzzer, in this process: `python -m tests.fuzz.one TARGET [-libfuzzer_option=…] DIRECTORY…`."""

from __future__ import annotations

import random
import sys
import time

import atheris

with atheris.instrument_imports(include=["minutier"]):
    from tests.fuzz.run import INPUT_SECONDS
    from tests.fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv[1]]

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        def plain(piece: bytes) -> bytes:
            return bytes(atheris.Mutate(piece, max(1, max_size)))

        dice = random.Random(seed)
        if target.change is None or not dice.randrange(3):
            return plain(data)
        return target.change(data, dice, plain)[:max_size]

    def check(data: bytes) -> None:
        started = time.process_time()
        target.check(data)
        # libFuzzer's own limit is of the clock on the wall, which a busy machine stretches.
        assert time.process_time() - started < INPUT_SECONDS, "an input took too long"

    atheris.Setup([sys.argv[0], *sys.argv[2:]], check, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
