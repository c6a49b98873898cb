"""Engine `llama_cpp`: a GGUF model by llama-cpp-python, in a worker that writes several answers at once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tarsd.engines import base, bundled
from tarsd.engines.worker_engine import WorkerChatEngine
from tarsd.errors import EngineUnavailable
from tarsd.workers import WorkerLimits

SLOTS = 4
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128")


class LlamaCppSettings(msgspec.Struct, frozen=True):
    """What the worker needs to load a model; `gpu_layers` -1 = all, -2 = as many as fit."""

    path: str
    context_tokens: int
    threads: int
    gpu_layers: int
    slots: int = SLOTS
    cache_tokens: int = 0  # 0 = context_tokens
    warm_mib: int = 64
    name: str = ""  # of the model, where it is not the file's


class LlamaCppEngine(WorkerChatEngine):
    """Chat by llama.cpp; an empty `model` is the bundled one."""

    kind = "llama_cpp"
    target = "tarsd.engines.llama_cpp_worker:LlamaCppWorker"
    # A step lasts half a second, a token of a very large model on an old PC some seconds.
    start_timeout_s = 300.0  # 20 GB from a slow disk
    silence_s = 10.0
    stuck_s = 20.0

    def worker_settings(self) -> LlamaCppSettings:
        """Return the model's place and how to run it."""
        path = Path(self.settings.model).expanduser() if self.settings.model else bundled.chat_gguf()
        if not path.is_file():
            raise EngineUnavailable(f"there is no model file {path}")
        return LlamaCppSettings(
            str(path),
            self.settings.context_tokens,
            base.threads(self.settings.threads),
            self.settings.gpu_layers if self._has_gpu() else 0,
            self.at_once(),
            self.settings.cache_tokens,
            self.settings.warm_mib,
        )

    def at_once(self) -> int:
        """Return how many answers are generated at once."""
        return self.settings.slots or SLOTS

    def limits(self) -> WorkerLimits:
        """A GPU's driver talks to its own services over local sockets, so only without one the network is closed."""
        return WorkerLimits(no_network=not self._has_gpu(), memory_mib=self.settings.memory_mib)

    def _has_gpu(self) -> bool:
        return self.settings.gpu_layers != 0 and any(Path(device).exists() for device in GPU_DEVICES)
