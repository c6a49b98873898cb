from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from tarsd import calls, config
from tarsd.engines.llama_cpp import LlamaCppEngine

# Words that the bundled model repeats with a wide margin (over 1.4 of logit at each token, as these tests ask): where
# the best two tokens are near, they fall one way or the other by the processor, and by what is computed in one batch.
COUNTED = ", ".join(map(str, range(1, 21)))
COUNT = f"Write these numbers again, all of them, separated by commas: {COUNTED}"


def question(text: str = "What is the capital of France?", **fields: Any) -> calls.ChatRequest:
    defaults = {"messages": [calls.Message("user", text)], "max_tokens": 24, "temperature": 0.0}
    return calls.ChatRequest(**(defaults | fields))


async def answer(engine: Any, request: calls.ChatRequest, deadline_s: float = 60) -> list[calls.ChatItem]:
    async with aclosing(engine.generate(request, deadline_s)) as items:
        return [item async for item in items]


def text_of(items: list[calls.ChatItem]) -> str:
    return "".join(item.text for item in items)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event: the inner state of something."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
async def llama() -> AsyncIterator[Callable[..., Awaitable[LlamaCppEngine]]]:
    """Real engines with the bundled model, stopped after the test."""
    engines: list[LlamaCppEngine] = []

    async def build(**settings: Any) -> LlamaCppEngine:
        chosen = config.Engine(**({"kind": "llama_cpp", "threads": 1} | settings))
        engines.append(LlamaCppEngine(chosen, name="llama_cpp"))
        await engines[-1].start()
        return engines[-1]

    yield build
    for engine in engines:
        await engine.stop()
