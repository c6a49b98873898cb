"""Engine `llama_cpp`: a GGUF model by llama-cpp-python, in a worker."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tarsd.engines import base, bundled
from tarsd.engines.worker_engine import WorkerChatEngine
from tarsd.errors import EngineUnavailable
from tarsd.workers import WorkerLimits


class LlamaCppSettings(msgspec.Struct, frozen=True):
    """What the worker needs to load a model; `gpu_layers` -1 = all."""

    path: str
    context_tokens: int
    threads: int
    gpu_layers: int


class LlamaCppEngine(WorkerChatEngine):
    """Chat by llama.cpp; an empty `model` is the bundled one."""

    kind = "llama_cpp"
    target = "tarsd.engines.llama_cpp_worker:LlamaCppWorker"

    def worker_settings(self) -> LlamaCppSettings:
        """Return the model's place and how to run it."""
        path = Path(self.settings.model).expanduser() if self.settings.model else bundled.chat_gguf()
        if not path.is_file():
            raise EngineUnavailable(f"there is no model file {path}")
        return LlamaCppSettings(
            str(path), self.settings.context_tokens, base.threads(self.settings.threads), self.settings.gpu_layers
        )

    def limits(self) -> WorkerLimits:
        """A GPU's driver talks to its own services over local sockets, so only without one the network is closed."""
        return WorkerLimits(no_network=self.settings.gpu_layers == 0)
