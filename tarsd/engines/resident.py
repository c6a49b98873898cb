"""One model in memory, and how to get it there."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tarsd import config
from tarsd.engines.chain import EngineChain
from tarsd.errors import EngineUnavailable

OWN = ""  # the name under which the node's own engines are kept
LOAD_S = 300.0
_STEP_S = 0.2


class Loadable(msgspec.Struct, frozen=True):
    """How to load a model: `needs_bytes` is what it will take, as far as that can be said before."""

    name: str
    settings: config.Engine
    needs_bytes: int


class Resident:
    """A model in memory, or the node's own engines."""

    def __init__(self, name: str, chain: EngineChain, needs_bytes: int, keep_s: float, now: float) -> None:
        self.name = name
        self.chain = chain
        self.needs_bytes = needs_bytes
        self.keep_s = keep_s
        self.used_at = now
        self.load_s = 0.0  # how long it took to load

    def memory_bytes(self) -> int:
        """Return what its workers take now."""
        return sum(worker.rss_bytes() for worker in self.workers().values())

    def workers(self) -> dict[str, Any]:
        """Return its workers by the name of their engine."""
        found = {engine.name: getattr(engine, "worker", None) for engine in self.chain.engines}
        return {name: worker for name, worker in found.items() if worker is not None}


async def until_ready(chain: EngineChain, name: str) -> None:
    """Wait until a chain can answer; raises `EngineUnavailable` with why it cannot."""
    loop = asyncio.get_running_loop()
    until = loop.time() + LOAD_S
    while not await chain.wait_ready(_STEP_S):
        if not chain.loading and (reasons := chain.reasons):
            raise EngineUnavailable(f"model {name or 'own'!r} cannot be loaded: {'; '.join(reasons.values())}")
        if loop.time() > until:
            raise EngineUnavailable(f"model {name or 'own'!r} was not loaded within {LOAD_S:.0f} s")
