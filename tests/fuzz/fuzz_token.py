"""Fuzzes a join token: see `tests.fuzz.targets.token`."""

from tests.fuzz.driver import run

if __name__ == "__main__":
    run("token")
