"""Runs one target under atheris, which looks for inputs that reach new code: `python -m tests.fuzz.fuzz_datagram`.

Arguments are libFuzzer's: corpus folders first (the first takes what is found), `-max_total_time=60`, `-runs=1000`,
`-seed=1`. An input that fails is written to `crash-…` in the working folder; give its name as the only argument to run
it again.
"""

from __future__ import annotations

import sys

import atheris

MAX_INPUT_BYTES = 4096


def run(name: str) -> None:
    """Fuzz the target until the arguments' bounds are reached; never returns."""
    with atheris.instrument_imports(include=["tarsd"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], f"-max_len={MAX_INPUT_BYTES}", *sys.argv[1:]], TARGETS[name])
    atheris.Fuzz()
