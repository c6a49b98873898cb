"""The engines of a node as one: the first usable one answers, and another goes on where it fails.

Rules
1. The order of the configuration decides. A request that names a model or engine has that one tried first; one that is
   being tried after a failure comes after others (`keeper`).
2. An engine that cannot start is tried again for ever, with backoff; the others are not held up by it.
3. An engine that fails before its first token is passed over silently, its reason is kept. One that cannot do what is
   asked for (`CannotServe`) is passed over too, and is not broken; only when none can is that the answer.
4. One that fails in mid-answer is continued by the next from all text shown so far; the reader sees one answer.
5. As many answers at a time as the first usable engine has slots. Others wait in a bounded queue, people before
   background work, and are told their position and the expected wait every few seconds.
6. Background work runs while no person's question does; it steps back as soon as one comes, even in the middle of its
   prompt, and later goes on from its own text.
7. An answer that its deadline cuts off ends as one cut by a limit, and says so; before the first token it is an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from importlib.metadata import entry_points

import msgspec

from tarsd import calls, config
from tarsd.engines.base import ChatEngine, EngineInfo
from tarsd.engines.keeper import Circuit, Keeper
from tarsd.engines.pace import Pace
from tarsd.engines.turnstile import Turnstile, until_called
from tarsd.errors import (
    CannotServe,
    ConfigError,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidInput,
    Overloaded,
    Unavailable,
)

_log = logging.getLogger(__name__)


class EngineChain:
    """What the role `cognitive` generates with.

    `settings`: the engines in order of preference. `queue`: how many may wait. `max_tokens`: bound of every answer.
    `before_load` is told before each attempt to load a model, `changed` when an engine became usable or is no longer.
    """

    def __init__(
        self,
        settings: Sequence[config.Engine],
        *,
        queue: int,
        max_tokens: int,
        before_load: Callable[[], None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._changed = changed
        self._keepers = [Keeper(engine, before_load, self._engines_changed) for engine in build_engines(settings)]
        self._turnstile = Turnstile(queue)
        self._pace = Pace()
        self._max_tokens = max_tokens
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether a question can be answered now."""
        return any(keeper.usable for keeper in self._keepers)

    @property
    def loading(self) -> bool:
        """Whether an engine is in its first attempt to start."""
        return any(keeper.loading for keeper in self._keepers)

    @property
    def engines(self) -> Sequence[ChatEngine]:
        """All engines in order, for status."""
        return [keeper.engine for keeper in self._keepers]

    @property
    def reasons(self) -> dict[str, str]:
        """Why an engine cannot be used, or why it failed last, by engine name; nothing for one that is well."""
        return {keeper.engine.name: keeper.reason for keeper in self._keepers if keeper.reason}

    @property
    def circuits(self) -> dict[str, Circuit]:
        """How each engine's circuit breaker stands, by engine name."""
        return {keeper.engine.name: keeper.circuit for keeper in self._keepers}

    @property
    def slots(self) -> int:
        """How many answers are generated at once."""
        return self._turnstile.at_once

    def info(self) -> EngineInfo | None:
        """Return the engine that would answer now."""
        infos = self.infos()
        return infos[0] if infos else None

    def infos(self) -> list[EngineInfo]:
        """Return what can be used now, in order."""
        return [info for keeper in self._keepers if (info := keeper.engine.info()) is not None]

    def load(self) -> tuple[int, int, float]:
        """Return (waiting, running, tokens per second of late; 0 before the first answer) of what people asked.

        Background work steps back for them, so to others it is as if it were not there.
        """
        return *self._turnstile.urgent, self._pace.tokens_per_s

    @property
    def is_busy(self) -> bool:
        """Whether anything is generated or waits, background work too."""
        return bool(self._turnstile.queued or self._turnstile.running)

    async def start(self) -> None:
        """Begin to load every engine and return; see `wait_ready`."""
        self._tasks = [asyncio.create_task(keeper.run(), name=f"keep {keeper.engine.name}") for keeper in self._keepers]

    def ended(self) -> bool:
        """Tell whether a task that keeps an engine ended while it should run, which none ever should."""
        return any(task.done() for task in self._tasks)

    async def stop(self) -> None:
        """Stop every engine, within 3 s."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(keeper.engine.stop() for keeper in self._keepers))

    async def keep_nothing(self) -> None:
        """Have every engine drop what it keeps of questions that were answered; raises what the first one raises."""
        await asyncio.gather(*(keeper.engine.keep_nothing() for keeper in self._keepers))

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until a question can be answered; returns whether it can."""
        tasks = [asyncio.ensure_future(keeper.wait_usable()) for keeper in self._keepers]
        try:
            await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.ready

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield positions while waiting, then the answer; see `ChatEngine.generate`.

        Raises `EngineUnavailable` when no engine can go on (with each one's reason), `Overloaded` beyond the queue,
        `InvalidInput`, `DeadlineExceeded` before the first token. Closing the generator gives up place and generation.
        """
        if not self.ready:
            raise self._no_engine()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        most = min(request.max_tokens or self._max_tokens, self._max_tokens)
        request = msgspec.structs.replace(request, max_tokens=most)
        stepped_back = True
        while stepped_back:
            stepped_back = False
            ticket = self._turnstile.take(urgent=not request.background)
            try:
                async with aclosing(self._turnstile.wait(ticket, deadline)) as positions:
                    async for place in positions:
                        yield calls.ChatItem(queue_position=place.position, wait_s=place.wait_s)
                answer = self._answer(request, deadline)
                async with aclosing(until_called(ticket.wanted, answer) if request.background else answer) as items:
                    async for item in items:
                        if item is None:
                            stepped_back = True
                            break
                        yield item
                        if item.finish_reason:
                            return  # also when somebody came in this very moment
                        request = _after(request, item)
            finally:
                self._turnstile.leave(ticket)

    async def _answer(self, request: calls.ChatRequest, deadline: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield one answer by as many engines as it takes (rules 3, 4 and 7)."""
        loop = asyncio.get_running_loop()
        shown_tokens = 0
        is_begun = bool(request.partial)
        refusals: list[InvalidInput] = []
        busy: Overloaded | None = None
        for keeper in self._in_order(request.model):
            if not keeper.usable:
                continue
            part = self._pace.start(loop.time())
            keeper.asked()
            settle = keeper.left
            try:
                async with aclosing(keeper.engine.generate(request, deadline - loop.time())) as items:
                    async for item in items:
                        self._pace.saw(part, item, loop.time())
                        if item.finish_reason:
                            settle = keeper.worked  # whatever the engine does after its last item
                        yield _with_earlier(item, shown_tokens)
                        if item.finish_reason:
                            return
                        request = _after(request, item)
                settle = partial(keeper.failed, "its answer ended without its last part")
            except Overloaded as error:
                busy = error  # a server with too much to do is not broken
            except Unavailable as error:
                settle = partial(keeper.failed, str(error))
                _log.info("%s fails after %d tokens: %s", keeper.engine.name, part.tokens, error)
            except DeadlineExceeded:
                if not shown_tokens + part.tokens:
                    raise
                yield _cut_by_deadline(shown_tokens + part.tokens)
                return
            except InvalidInput as error:
                if not isinstance(error, CannotServe) and not is_begun and not part.tokens:
                    raise
                refusals.append(error)  # what one engine began the next may be unable to take
            finally:
                settle()
            shown_tokens += part.tokens
            is_begun |= part.tokens > 0
        if len(refusals) == len(self._keepers) and not shown_tokens:
            raise refusals[0]
        raise busy or self._no_engine()

    def _in_order(self, model: str) -> list[Keeper]:
        """Return the engines as they are to be asked (rule 1)."""
        return sorted(
            self._keepers, key=lambda keeper: (bool(model) and not keeper.is_called(model), keeper.is_on_trial)
        )

    def _engines_changed(self) -> None:
        if (info := self.info()) is not None:
            self._turnstile.widen(info.slots)
        self._changed()

    def _no_engine(self) -> EngineUnavailable:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items())
        return EngineUnavailable(reasons or ("the model is still loading" if self.loading else "no engine is usable"))


def build_engines(settings: Sequence[config.Engine]) -> list[ChatEngine]:
    """Return the engines of `settings`, built through the entry points `tarsd.engines`; raises `ConfigError`."""
    plugs = {plug.name: plug for plug in entry_points(group="tarsd.engines")}
    engines: list[ChatEngine] = []
    for index, one in enumerate(settings):
        plug = plugs.get(one.kind)
        if plug is None:
            raise ConfigError(f"cognitive.engines: no engine {one.kind!r} is installed; there are {sorted(plugs)}")
        twins = sum(other.kind == one.kind for other in settings[:index])
        engines.append(plug.load()(one, name=one.kind if not twins else f"{one.kind}-{twins + 1}"))
    return engines


def _with_earlier(item: calls.ChatItem, tokens: int) -> calls.ChatItem:
    """Return the last item with the tokens of the engines before counted in."""
    if item.usage is None or not tokens:
        return item
    usage = msgspec.structs.replace(item.usage, completion_tokens=item.usage.completion_tokens + tokens)
    return msgspec.structs.replace(item, usage=usage)


def _cut_by_deadline(tokens: int) -> calls.ChatItem:
    return calls.ChatItem(finish_reason="length", limit="deadline", usage=calls.Usage(completion_tokens=tokens))


def _after(request: calls.ChatRequest, item: calls.ChatItem) -> calls.ChatRequest:
    """Return what is left to ask for once `item` was shown."""
    if not item.text:
        return request
    return msgspec.structs.replace(
        request, partial=request.partial + item.text, max_tokens=max(1, request.max_tokens - 1)
    )
