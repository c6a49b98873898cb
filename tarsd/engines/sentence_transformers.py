"""Engine `sentence_transformers`: vectors of texts, in a worker.

Rules
1. A text longer than the model's window is embedded in overlapping windows, whose mean is its vector: its tail counts.
2. Passages go to the worker in small lots and a query goes before the next lot: a person does not wait for an ingest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from tarsd import calls, config
from tarsd.engines import base, bundled
from tarsd.engines.base import EngineInfo
from tarsd.engines.turnstile import Turnstile
from tarsd.errors import EngineUnavailable, InvalidInput
from tarsd.wire import decode
from tarsd.workers import SupervisedWorker, WorkerLimits

MOST_TEXTS = 256
_LOT_TEXTS = 16  # 0.2 s of short texts on one thread
_WAITING_MOST = 256
_DESCRIBE_S = 10.0


class SentenceTransformersSettings(msgspec.Struct, frozen=True):
    """What the worker needs to load a model."""

    folder: str
    threads: int


class EmbedLot(msgspec.Struct, frozen=True):
    """One call to the worker."""

    texts: list[str]
    purpose: str


class Embedded(msgspec.Struct, frozen=True):
    """What the worker makes of one text."""

    vector: bytes
    tokens: int


class EmbeddingEngine:
    """Embeds by sentence-transformers; an empty `embedding_model` is the bundled one, which knows English only."""

    name = "sentence_transformers"

    def __init__(self, settings: config.Processing) -> None:
        self.settings = settings
        self._worker: SupervisedWorker | None = None
        self._info: EngineInfo | None = None
        self._turnstile = Turnstile(_WAITING_MOST)

    @property
    def worker(self) -> SupervisedWorker | None:
        """The worker, for supervision and status; None before the first start."""
        return self._worker

    @property
    def model(self) -> str:
        """The name of the model that is or will be loaded, "" where its folder is not there."""
        try:
            return model_name(self._folder())
        except EngineUnavailable:
            return ""

    async def start(self) -> None:
        """Load the model in the worker, or wait until a lost worker is back; raises `Unavailable` with the reason."""
        if self._worker is None:
            self._worker = SupervisedWorker(
                self.name,
                "tarsd.engines.sentence_transformers_worker:SentenceTransformersWorker",
                SentenceTransformersSettings(str(self._folder()), base.threads(self.settings.threads)),
                limits=WorkerLimits(no_network=True),
                start_timeout_s=180,
            )
        await self._worker.start()
        async with aclosing(self._worker.call("describe", b"", deadline_s=_DESCRIBE_S)) as answer:
            async for item in answer:
                self._info = decode(item, EngineInfo)

    async def stop(self) -> None:
        """End the worker within 3 s."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    def info(self) -> EngineInfo | None:
        """Return what is loaded (`context_tokens` is one window); None while the worker is away."""
        return self._info if self._worker is not None and self._worker.state == "ready" else None

    async def embed(self, texts: Sequence[str], purpose: str = "passage", deadline_s: float = 60.0) -> calls.EmbedItem:
        """Return the vectors of at most `MOST_TEXTS` texts; `purpose` is "query" or "passage".

        Raises `InvalidInput`, `Unavailable` (not loaded, worker lost, too many waiting), `DeadlineExceeded`.
        """
        if len(texts) > MOST_TEXTS:
            raise InvalidInput(f"texts: {len(texts)} were given, at most {MOST_TEXTS} are taken at once")
        worker = self._worker
        if worker is None or self._info is None:
            raise EngineUnavailable(f"{self.name} is not loaded")
        deadline = asyncio.get_running_loop().time() + deadline_s
        found: list[Embedded] = []
        for at in range(0, len(texts), _LOT_TEXTS):
            lot = EmbedLot(list(texts[at : at + _LOT_TEXTS]), purpose)
            async with self._turnstile.turn(urgent=purpose == "query", deadline=deadline):
                found += await _embed_lot(worker, lot, deadline)
        vectors = [one.vector for one in found]
        tokens = sum(one.tokens for one in found)
        return calls.EmbedItem(vectors, self._info.model, _dimension(vectors), tokens)

    def _folder(self) -> Path:
        chosen = self.settings.embedding_model
        folder = Path(chosen).expanduser() if chosen else bundled.embedding_folder()
        if not folder.is_dir():
            raise EngineUnavailable(f"there is no model folder {folder}")
        return folder


async def _embed_lot(worker: SupervisedWorker, lot: EmbedLot, deadline: float) -> list[Embedded]:
    left_s = deadline - asyncio.get_running_loop().time()
    async with aclosing(worker.call("embed", lot, deadline_s=left_s)) as answer:
        return [decode(item, Embedded) async for item in answer]


def _dimension(vectors: Sequence[bytes]) -> int:
    return len(vectors[0]) // 4 if vectors else 0


def model_name(folder: Path) -> str:
    """Return the model's name; a package that bundles one calls its folder just "model"."""
    return folder.parent.name if folder.name == "model" else folder.name
