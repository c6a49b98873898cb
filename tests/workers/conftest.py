from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tarsd.workers import SupervisedWorker, Worker

TALKER = "worker_classes:Talker"


@pytest.fixture(autouse=True)
def _importable_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Worker]]:
    """Workers that are stopped after the test."""
    made: list[Worker] = []

    def build(kind: type[Worker] = Worker, settings: Any = None, target: str = TALKER, **options: Any) -> Worker:
        made.append(kind("test", target, settings or {}, **options))
        return made[-1]

    yield build
    for worker in made:
        await worker.stop()


@pytest.fixture
async def talker(make: Callable[..., Worker]) -> Worker:
    worker = make()
    await worker.start()
    return worker


@pytest.fixture
async def supervised(make: Callable[..., Worker]) -> Worker:
    worker = make(SupervisedWorker)
    await worker.start()
    return worker
