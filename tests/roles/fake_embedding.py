"""An embedding engine that behaves, without a model: a text's vector is made of its words, by a way of its own."""

from __future__ import annotations

import asyncio
import hashlib
import math
import struct
from collections.abc import Sequence

from tarsd.calls import EmbedItem
from tarsd.engines.base import EngineInfo
from tarsd.errors import EngineUnavailable
from tarsd.workers import SupervisedWorker


class FakeEngine:
    """Words of a text point to places of its vector; another model points elsewhere. `gate` holds passages back."""

    worker: SupervisedWorker | None = None

    def __init__(self, model: str, dimension: int = 64) -> None:
        self.model = model
        self.dimension = dimension
        self.gate = asyncio.Event()
        self.gate.set()
        self.let_through = 0  # passages that go through a shut gate
        self.is_loaded = False
        self.embedded = 0

    async def start(self) -> None:
        if not self.model:
            raise EngineUnavailable("there is no such folder")
        self.is_loaded = True

    async def stop(self) -> None:
        self.is_loaded = False

    def info(self) -> EngineInfo | None:
        return EngineInfo("fake", self.model, 256) if self.is_loaded else None

    async def embed(self, texts: Sequence[str], purpose: str = "passage", deadline_s: float = 60.0) -> EmbedItem:
        if not self.is_loaded:
            raise EngineUnavailable("fake is not loaded")
        if purpose == "passage":
            if self.let_through < len(texts):
                await self.gate.wait()
            self.let_through -= len(texts)
            self.embedded += len(texts)
        return EmbedItem([self._vector(text) for text in texts], self.model, self.dimension)

    def _vector(self, text: str) -> bytes:
        numbers = [0.001] * self.dimension
        for word in text.casefold().split():
            seed = hashlib.sha256(f"{self.model} {word}".encode()).digest()
            numbers[int.from_bytes(seed[:4], "big") % self.dimension] += 1.0
        length = math.sqrt(sum(number * number for number in numbers))
        return struct.pack(f"<{self.dimension}f", *(number / length for number in numbers))
