"""What every test stands on: the repository on the path, no stray event loop, and a guard over the loops."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))  # so that `bench` is found by a bare `pytest` too

# How long an example takes is the machine's affair. The same examples each time: a suite that is asked whether a change
# is good must not answer by chance. To look further: HYPOTHESIS=random, or `make fuzz`.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))

# What stops an event loop for an unknown time. Reading a small local file does not, and is left alone.
GUARDED = ("time.sleep", "socket.", "ssl.", "sqlite3.", "threading.")


def pytest_configure() -> None:
    """Keep pytest-asyncio from making, and never closing, the loop that `get_event_loop` once made by itself."""
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def no_blocking_on_the_loop() -> Iterator[None]:
    """Fail any test in which tarsd's own code blocks an event loop."""
    guard = BlockBuster("tarsd")
    guarded = [function for name, function in guard.functions.items() if name.startswith(GUARDED)]
    for function in guarded:
        function.activate()
    try:
        yield
    finally:
        for function in guarded:
            function.deactivate()
