"""Fuzzes a message, sealed or not: see `tests.fuzz.targets.datagram`."""

from tests.fuzz.driver import run

if __name__ == "__main__":
    run("datagram")
