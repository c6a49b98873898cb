"""A chat engine that does what a test wrote down; it behaves as `ChatEngine` says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from tarsd import calls, config
from tarsd.engines.base import EngineInfo
from tarsd.errors import TarsdError

Step = str | TarsdError | asyncio.Event


@dataclass
class Script:
    """`answers`: one list of steps per call, the last is repeated; text is shown, an error raised, an event awaited."""

    answers: list[list[Step]] = field(default_factory=lambda: [["ok"]])
    starts: list[TarsdError] = field(default_factory=list)  # what the first starts raise
    asked: list[calls.ChatRequest] = field(default_factory=list)
    slots: int = 1
    after: TarsdError | None = None  # raised once the last item is out
    ends: bool = True  # with a last item
    started: int = 0
    dropped: int = 0  # how often it was told to keep nothing
    refuses_to_drop: TarsdError | None = None
    closed: int = 0


SCRIPTS: dict[str, Script] = {}


class ScriptedEngine:
    def __init__(self, settings: config.Engine, *, name: str) -> None:
        self.name = name
        self._model = settings.model or f"{settings.kind}-model"
        self._kind = settings.kind
        self._script = SCRIPTS.setdefault(name, Script())
        self._info: EngineInfo | None = None

    async def start(self) -> None:
        self._script.started += 1
        if self._script.starts:
            raise self._script.starts.pop(0)
        self._info = EngineInfo(self._kind, self._model, 1000, self._script.slots)

    async def stop(self) -> None:
        self._info = None

    async def keep_nothing(self) -> None:
        self._script.dropped += 1
        if self._script.refuses_to_drop is not None:
            raise self._script.refuses_to_drop

    def info(self) -> EngineInfo | None:
        return self._info

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        self._script.asked.append(request)
        steps = self._script.answers.pop(0) if len(self._script.answers) > 1 else self._script.answers[0]
        engine, model, written = self._kind, self._model, 0
        try:
            for step in steps:
                match step:
                    case TarsdError():
                        raise step
                    case asyncio.Event():
                        await step.wait()
                    case text:
                        written += 1
                        yield calls.ChatItem(text=text, engine=engine, model=model)
                        engine = model = ""
            if self._script.ends:
                yield calls.ChatItem(finish_reason="stop", usage=calls.Usage(7, written), engine=engine, model=model)
            if self._script.after is not None:
                raise self._script.after
        finally:
            self._script.closed += 1
