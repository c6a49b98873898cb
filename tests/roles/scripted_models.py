"""A residency over scripted engines, for the roles that stand on one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from tarsd import config
from tarsd.engines import chain as chain_module
from tarsd.engines import keeper as keeper_module
from tarsd.engines.chain import EngineChain
from tarsd.engines.residency import Residency
from tarsd.engines.resident import Loadable
from tarsd.workers.backoff import Backoff
from tests.engines.scripted_engine import SCRIPTS


def script_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have chains build scripted engines."""
    SCRIPTS.clear()

    def plugs(group: str) -> list[EntryPoint]:
        kinds = ("llama_cpp", "ollama")
        return [EntryPoint(kind, "tests.engines.scripted_engine:ScriptedEngine", group) for kind in kinds]

    monkeypatch.setattr(chain_module, "entry_points", plugs)
    monkeypatch.setattr(keeper_module, "Backoff", lambda: Backoff(0.01, 0.01))


@asynccontextmanager
async def running(
    find: Callable[[str], Loadable | None] = lambda name: None, kinds: tuple[Any, ...] = ("llama_cpp",), **settings: Any
) -> AsyncGenerator[Residency, None]:
    """Run a residency until the block ends; its own engines are ready."""
    residency = Residency(
        [config.Engine(kind=kind) for kind in kinds],
        config.Models(**settings),
        lambda engines: EngineChain(engines, queue=8, max_tokens=500),
        find,
        total_bytes=lambda: 1 << 34,
        available_bytes=lambda: 1 << 34,
    )
    await residency.start()
    try:
        async with asyncio.timeout(30):
            await residency._here[""].chain.wait_ready(5)
        yield residency
    finally:
        await residency.stop()
