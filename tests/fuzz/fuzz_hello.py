"""Fuzzes a greeting: see `tests.fuzz.targets.hello`."""

from tests.fuzz.driver import run

if __name__ == "__main__":
    run("hello")
