"""Engine `transformers`: a model folder by Hugging Face transformers, in a worker."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tarsd.engines import base, bundled
from tarsd.engines.worker_engine import WorkerChatEngine
from tarsd.errors import EngineUnavailable


class TransformersSettings(msgspec.Struct, frozen=True):
    """What the worker needs to load a model: a folder, or a GGUF file that is converted at each load."""

    path: str
    context_tokens: int
    threads: int


class TransformersEngine(WorkerChatEngine):
    """Chat by transformers; an empty `model` is the bundled GGUF, which takes half a minute to convert."""

    kind = "transformers"
    target = "tarsd.engines.transformers_worker:TransformersWorker"
    start_timeout_s = 300.0

    def worker_settings(self) -> TransformersSettings:
        """Return the model's place and how to run it."""
        path = Path(self.settings.model).expanduser() if self.settings.model else bundled.chat_gguf()
        if not path.exists():
            raise EngineUnavailable(f"there is no model at {path}")
        return TransformersSettings(str(path), self.settings.context_tokens, base.threads(self.settings.threads))
