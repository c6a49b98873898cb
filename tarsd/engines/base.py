"""What an engine is to the rest of the house."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from tarsd import calls, config


class EngineInfo(msgspec.Struct, frozen=True):
    """What a loaded engine offers: its kind, its model's name, and how many tokens question and answer may have."""

    engine: str
    model: str
    context_tokens: int
    slots: int = 1  # answers that it generates at once
    architecture: str = ""
    parameters: int = 0
    quantization: str = ""
    size_bytes: int = 0
    template: str = ""
    can_use_tools: bool = False


class ChatEngine(Protocol):
    """Generates answers with one model; registered as an entry point of `tarsd.engines` under its kind.

    At most `EngineInfo.slots` answers at a time: `EngineChain` sees to that.
    """

    name: str

    def __init__(self, settings: config.Engine, *, name: str) -> None:
        """Take the settings; touches nothing."""

    async def start(self) -> None:
        """Load the model, or reach the server.

        Raises `Unavailable` with the reason why it cannot be used. May be called again, after a failure as well, and
        then returns when the engine is usable (again).
        """

    async def stop(self) -> None:
        """Free everything within 3 s."""

    def info(self) -> EngineInfo | None:
        """Return what is loaded; None while the engine cannot be used."""

    def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield the answer, an item per token where the model gives single tokens.

        The first item carries engine and model, the last finish_reason and usage. `request.partial` is continued and
        not repeated. What an engine cannot do of what the request asks for (tools, a schema) is `InvalidInput`. Raises
        `Unavailable` when another engine should go on, `InvalidInput` when the request cannot be served (too long),
        `DeadlineExceeded`. Closing the generator stops the generation.
        """

    async def keep_nothing(self) -> None:
        """Drop what is kept of questions that were answered: something in them was forgotten.

        An engine of another process than ours can only leave that to its server. Raises `Unavailable` or
        `DeadlineExceeded` when it was not done: ask again.
        """


def threads(configured: int) -> int:
    """Return how many threads a model may use; 0 = all cores but one, which the daemon and its calls need."""
    return configured or max(1, len(os.sched_getaffinity(0)) - 1)
