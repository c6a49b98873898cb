"""Fuzzes an mDNS TXT record: see `tests.fuzz.targets.txt`."""

from tests.fuzz.driver import run

if __name__ == "__main__":
    run("txt")
