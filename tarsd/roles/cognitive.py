"""The role `cognitive`: runs the language models and keeps the conversations.

Rules
1. `chat` and `summarize` are advertised only while an engine can serve them.
2. Summaries and other background work wait for people's questions (`background=True`).
3. While two hosts ask for one answer, which was resumed, the newer request is served: the older one's reader is gone,
   and would hold the model.
4. Conversations: see `folding`. Models that are loaded by name, their files and their speed: see `loading`, `models`
   and `measuring`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from tarsd import calls
from tarsd.calls import (
    ChatItem,
    ChatRequest,
    Message,
    SummarizeItem,
    SummarizeRequest,
)
from tarsd.dispatch.newest import Newest
from tarsd.engines.chain import EngineChain
from tarsd.engines.residency import Residency
from tarsd.errors import DeadlineExceeded, InvalidInput, Unavailable
from tarsd.memory.extractive import summarize as extract
from tarsd.memory.forgetting import Forgotten, LetGo
from tarsd.models.speeds import SpeedBook
from tarsd.names import Capability
from tarsd.planning.language import detect_language
from tarsd.planning.texts import texts
from tarsd.roles.base import Attributes, Role, RoleLoad, Services, WorkerView
from tarsd.roles.folding import Folding
from tarsd.roles.loading import Loading
from tarsd.roles.measuring import Measurer
from tarsd.roles.models import Models, names_on_demand, shelf_of
from tarsd.rpc import CallContext, Handler

MAX_SUMMARIZE_CHARACTERS = 12_000  # what a small model's context holds beside the instructions
TOLD_NAMES_BYTES = 640  # of models on demand; a fact of gossip has 1 KiB, and other attributes are in it too


class Cognitive(Role):
    """Offers `chat`, `summarize`, `measure`, and what `Folding` and `Models` offer."""

    name = "cognitive"

    def __init__(self, services: Services) -> None:
        settings = services.config.cognitive
        self._services = services
        shelf = shelf_of(services)
        self._speeds = SpeedBook(services.config.node.data_dir)
        self._loading = Loading(shelf)
        own = self._loading.own(settings.engines)
        self._residency = Residency(
            own.engines,
            services.config.models,
            lambda engines: EngineChain(
                engines,
                queue=settings.queue,
                max_tokens=settings.max_tokens,
                before_load=services.before_load,
                changed=services.changed,
            ),
            self._loading.find,
            own_bytes=own.needs_bytes,
            own_names=own.names,
            fetch=self._loading.fetch,
        )
        self._models = Models(services, shelf, self._residency, self._speeds)
        self._loading.follow = self._models.pulls.follow
        self._measurer = Measurer(self._residency, self._speeds, self._loading.threads_of)
        self._bring = own.absent
        self._tasks: list[asyncio.Task[None]] = []
        self._given: Newest[ChatItem] = Newest()
        self._folding = Folding(services, self._summary_of, limit=settings.conversations)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.CHAT.name: self._chat,
            calls.SUMMARIZE.name: self._summarize,
            calls.MEASURE.name: self._measure,
            **self._folding.handlers(),
            **self._models.handlers(),
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        offered: dict[Capability, Attributes] = {name: {} for name in (calls.MEASURE.name, *self._folding.handlers())}
        offered |= self._models.adverts()
        info = self._residency.info()
        if info is None or not self._residency.ready:
            return offered
        own = [each.model for each in self._residency.infos()]
        chat: dict[str, str | int | float | bool | list[str]] = {
            "engine": info.engine,
            "model": info.model,
            "context_tokens": info.context_tokens,
            "slots": info.slots,
            "max_tokens": self._services.config.cognitive.max_tokens,
            "models": names_on_demand(self._models.of_late(), own, TOLD_NAMES_BYTES),
        }
        if (speed := self._speeds.of(info.engine, info.model)) is not None:
            chat |= {"speed": speed.tokens_per_s, "together": speed.together_tokens_per_s}
        return offered | {calls.CHAT.name: chat, calls.SUMMARIZE.name: {}}

    async def start(self) -> None:
        """See `Role`; the model loads in the background."""
        self._folding.start()
        await self._residency.start()
        for name, work in (
            ("bring models", self._loading.bring(self._bring)),
            ("measure once", self._measurer.measure_what_is_new()),
        ):
            self._tasks.append(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        """See `Role`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._models.stop()
        await self._folding.stop()
        await self._residency.stop()

    def problems(self) -> list[str]:
        """See `Role`; an engine that cannot work is degraded service, which a restart of the daemon would not mend."""
        return ["cognitive: the task that keeps an engine ended"] if self._residency.ended() else []

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        info = self._residency.info()
        return {
            "ready": self._residency.ready,
            "engine": info.engine if info else "",
            "model": info.model if info else "",
            "on_demand": sorted(self._residency.loaded()),
            "reasons": self._residency.reasons,
            "circuits": self._residency.circuits,
            "load": self.load()._asdict(),
            "conversations": len(self._folding),
        }

    def workers(self) -> Mapping[str, WorkerView]:
        """See `Role`."""
        return self._residency.workers()

    def load(self) -> RoleLoad:
        """See `Role`; before anybody was answered the speed is the one that was measured."""
        queued, running, of_late = self._residency.load()
        info = self._residency.info()
        speed = self._speeds.of(info.engine, info.model) if info is not None else None
        of_late = of_late or (speed.tokens_per_s if speed is not None else 0.0)
        return RoleLoad(queued, running, of_late, self._residency.slots)

    async def let_go(self, forgotten: Forgotten) -> LetGo:
        """See `Role`: what the conversations tell of it, those too that are being folded now, and what models keep."""
        changed = self._folding.let_go(forgotten)
        await self._residency.keep_nothing()
        return LetGo(conversations=changed)

    async def _chat(self, request: ChatRequest, context: CallContext) -> AsyncGenerator[ChatItem, None]:
        if not request.messages and not request.prompt:
            raise InvalidInput("messages: empty")
        answer = self._residency.generate(request, context.headers.deadline_s)
        async with aclosing(self._given.give(request.answer, answer)) as items:
            async for item in items:
                yield item

    async def _measure(
        self, request: calls.MeasureRequest, context: CallContext
    ) -> AsyncGenerator[calls.MeasureItem, None]:
        async with aclosing(self._measurer.measure(request)) as items:
            async for item in items:
                yield item

    async def _summarize(self, request: SummarizeRequest, context: CallContext) -> AsyncGenerator[SummarizeItem, None]:
        yield await self._summary_of(request.text, request.max_words, context.headers.deadline_s)

    async def _summary_of(self, text: str, max_words: int, deadline_s: float) -> SummarizeItem:
        text = text[-MAX_SUMMARIZE_CHARACTERS:]
        instruction = texts(detect_language(text)).summarize.format(words=max_words)
        request = ChatRequest(
            [Message("system", instruction), Message("user", text)],
            max_tokens=max_words * 3,
            temperature=0.0,
            repeat_penalty=1.1,
            background=True,
        )
        try:
            async with aclosing(self._residency.generate(request, deadline_s)) as items:
                found = [item async for item in items]
        except (Unavailable, DeadlineExceeded, InvalidInput):
            return SummarizeItem(extract(text, max_words), "extractive")
        if found and found[-1].limit == "deadline":  # the first words of a summary are none
            return SummarizeItem(extract(text, max_words), "extractive")
        written = "".join(item.text for item in found).strip()
        return SummarizeItem(written, "model") if written else SummarizeItem(extract(text, max_words), "extractive")
