"""llama.cpp in a worker: imported there only. Several answers at once, in batches (`engines.batching`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tarsd.calls import ChatItem, ChatRequest
from tarsd.engines.base import EngineInfo
from tarsd.engines.batching.board import Board
from tarsd.engines.batching.cache import Cache
from tarsd.engines.batching.native import Native
from tarsd.engines.batching.prompts import Prompts
from tarsd.engines.batching.shelf import Shelf
from tarsd.engines.llama_cpp import LlamaCppSettings
from tarsd.wire import MIB, decode, encode

# Beside those that are being written so many conversations stay warm, as far as there are cells for them.
RETELL_S = 4.0  # who waits for room in the cache is told so as often as in a queue
BROKEN_STEPS = 3  # a device that failed does not come back in the same process
WARM_SEQUENCES = 12


class LlamaCppWorker:
    """One model in one context; its calls take turns (`workers.turns`), and `tick` does a step for all of them."""

    def __init__(self, settings: bytes) -> None:
        chosen = decode(settings, LlamaCppSettings)
        self._native = Native(
            Path(chosen.path),
            context_tokens=chosen.context_tokens,
            cells=chosen.cache_tokens,
            sequences=chosen.slots + WARM_SEQUENCES,
            threads=chosen.threads,
            gpu_layers=chosen.gpu_layers,
        )
        prompts = Prompts(self._native)
        cache = Cache(self._native.cells, chosen.slots + WARM_SEQUENCES, can_rewind=self._native.can_rewind)
        self.board = Board(self._native, prompts, cache, Shelf(chosen.warm_mib * MIB), chosen.slots)
        self.board.warm_up()
        self._info = EngineInfo(
            "llama_cpp",
            chosen.name or Path(chosen.path).stem,
            self._native.context_tokens,
            slots=chosen.slots,
            architecture=self._native.metadata("general.architecture"),
            parameters=self._native.parameters(),
            quantization=self._native.quantization(),
            size_bytes=self._native.size_bytes(),
            template=prompts.template,
            can_use_tools=True,
        )

    def describe(self, request: bytes) -> Iterator[bytes]:
        """Yield one `EngineInfo`."""
        yield encode(self._info)

    def generate(self, request: bytes) -> Iterator[bytes]:
        """Yield the `ChatItem`s of one `ChatRequest`, an item per token; b"" where there is none for now."""
        answer = self.board.enter(decode(request, ChatRequest))
        try:
            told, told_at = 0, 0.0
            while not answer.has_ended:
                yield b""
                place = self.board.position(answer)
                if place and (place != told or time.monotonic() - told_at > RETELL_S):
                    told, told_at = place, time.monotonic()
                    yield encode(ChatItem(queue_position=place))
                yield from answer.items()
            if answer.error is not None:
                raise answer.error
        finally:
            self.board.leave(answer)

    def keep_nothing(self, request: bytes) -> Iterator[bytes]:
        """Drop what is kept of questions that were answered, and of those that are open once they end."""
        self.board.keep_nothing()
        yield b""

    def tick(self) -> None:
        """Do one step for all answers."""
        self.board.step()
        if self.board.broken_steps >= BROKEN_STEPS:
            print("llama.cpp fails at every step: this worker goes, and is started afresh", flush=True)  # noqa: T201
            os._exit(1)

    def close(self) -> None:
        """Free the model."""
        self._native.close()
