"""Fuzzes a stream of calls: see `tests.fuzz.targets.frames`."""

from tests.fuzz.driver import run

if __name__ == "__main__":
    run("frames")
