"""Measures how fast the engines of this PC are, by running them.

Rules
1. A figure is the median of several rounds. A round in which anything else was asked of the models is thrown away and
   done again; so is one that was made to step back. After `MAX_DISTURBED` of those it is said that people are at work.
2. All of it is background work: people go before it, at the next token.
3. Each prompt begins with another number, so that no cache holds it; what one held all the same is not counted.
4. Prompt speed comes from a long prompt and its first token; generation speed and first token from a short prompt and a
   long answer; `together` from as many of those at once as the engine takes.
5. The result is kept at once, engine by engine.
6. One measurement at a time. By itself the node measures once, quickly, when nothing has been asked for a while, and
   only what runs here: asking a server elsewhere may cost money.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from random import Random
from statistics import median

import msgspec

from tarsd import calls
from tarsd.calls import ChatRequest, MeasureItem, MeasureRequest, Message, Speed
from tarsd.engines import base
from tarsd.engines.base import EngineInfo
from tarsd.engines.residency import Residency
from tarsd.errors import NotFound, Overloaded, StorageError, TarsdError, Unavailable, place_of
from tarsd.models.speeds import SpeedBook

log = logging.getLogger(__name__)

ROUNDS = 3
MAX_DISTURBED = 5
IDLE_S = 60.0  # how long a measurement waits for the models to be idle
LOOK_S = 0.25
FIRST_AFTER_S = 120.0  # after the model was ready, by itself
DEADLINE_S = 300.0
_SENTENCE = "The boiler in the cellar was serviced by Ana on Monday and works well again since then."
_WORDS_PER_TOKEN = 0.75


class Plan(msgspec.Struct, frozen=True):
    """How much is done: rounds, tokens of the long prompt, tokens of an answer."""

    rounds: int
    prompt_tokens: int
    answer_tokens: int


FULL = Plan(ROUNDS, 512, 64)
QUICK = Plan(1, 128, 24)


class Target(msgspec.Struct, frozen=True):
    """What is measured: `asked_as` goes into a request, `engine` and `model` are what it is called by."""

    asked_as: str
    engine: str
    model: str
    info: EngineInfo | None = None
    threads: int = 0
    is_here: bool = True  # in a worker of this node, not at a server


class Timing(msgspec.Struct, frozen=True):
    """One answer, as it came; seconds since it was asked for."""

    prompt_tokens: int
    first_s: float
    tokens: int
    last_s: float

    @property
    def tokens_per_s(self) -> float:
        """From the first token on, so without the prompt."""
        return (self.tokens - 1) / (self.last_s - self.first_s) if self.last_s > self.first_s else 0.0

    @property
    def prompt_tokens_per_s(self) -> float:
        """Of the tokens that no cache held."""
        return self.prompt_tokens / self.first_s if self.first_s > 0 else 0.0


class _DisturbedError(Exception):
    """Something else ran meanwhile."""


class Measurer:
    """Runs the models of `residency` and keeps what it finds in `speeds`."""

    def __init__(
        self,
        residency: Residency,
        speeds: SpeedBook,
        threads_of: Callable[[str], int | None],
        rng: Random | None = None,
    ) -> None:
        """`threads_of` says with how many threads a model is loaded on demand; None for one that is unknown here."""
        self._residency = residency
        self._speeds = speeds
        self._threads_of = threads_of
        self._rng = rng or Random()  # noqa: S311 - makes prompts differ
        self._running = False
        self._asked = 0  # answers of ours that run

    async def measure(self, request: MeasureRequest) -> AsyncGenerator[MeasureItem, None]:
        """Yield what is being done, and a result for each engine and model; raises `Overloaded` while one runs."""
        if self._running:
            raise Overloaded("this node is being measured already", retry_after_s=30)
        self._running = True
        try:
            for target in self.targets(request.models):
                async with aclosing(self._measure(target, QUICK if request.quick else FULL)) as items:
                    async for item in items:
                        yield item
        finally:
            self._running = False

    def targets(self, models: Sequence[str]) -> list[Target]:
        """Return what these names mean; none = every own engine that is usable. Raises `NotFound`."""
        own = self._own()
        if not models:
            return own
        found = []
        for name in models:
            meant = [target for target in own if name in (target.asked_as, target.model)]
            if not meant and (threads := self._threads_of(name)) is not None:
                meant = [Target(name, "llama_cpp", name, threads=threads)]
            if not meant:
                raise NotFound(f"models: {name!r} is not known here")
            found += meant
        return found

    async def measure_what_is_new(self) -> None:
        """Measure quickly, once, what runs here and was never measured with so many threads (rule 6)."""
        while not self._residency.ready:  # noqa: ASYNC110 - engines tell nobody that they are ready, or idle
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(FIRST_AFTER_S)
        for target in self._own():
            known = self._speeds.of(target.engine, target.model)
            if not target.is_here or (known is not None and known.threads == target.threads):
                continue
            while not self._is_idle() or self._running:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
            await self._measure_alone(target)

    async def _measure_alone(self, target: Target) -> None:
        try:
            async with aclosing(self.measure(MeasureRequest([target.asked_as], quick=True))) as items:
                async for item in items:
                    if item.speed is not None:
                        log.info("%s with %s: %.1f tokens/s", target.model, target.engine, item.speed.tokens_per_s)
                    elif item.failed:
                        log.info("%s was not measured: %s", target.model, item.failed)
        except TarsdError as error:
            log.info("%s was not measured: %s", target.model, error)
        except Exception as error:
            log.error("measuring failed: %s", place_of(error))

    def _own(self) -> list[Target]:
        found = []
        for engine in self._residency.engines():
            info, settings = engine.info(), getattr(engine, "settings", None)
            if info is not None:
                here = getattr(engine, "worker", None) is not None
                threads = base.threads(settings.threads) if here and settings is not None else 0
                found.append(Target(engine.name, info.engine, info.model, info, threads, here))
        return found

    async def _measure(self, target: Target, plan: Plan) -> AsyncGenerator[MeasureItem, None]:
        try:
            yield MeasureItem(f"{target.model} with {target.engine}: waiting until nobody is answered")
            await self._until_idle()
            # loads one that is loaded on demand, and warms up what is done once only
            yield MeasureItem(f"{target.model} with {target.engine}: loading")
            await self._answer(target, "Hello.", 8)
            loaded = self._loaded(target)
            yield MeasureItem(f"{target.model} with {target.engine}: {plan.prompt_tokens} tokens of prompt")
            prompts = [await self._undisturbed(target, plan.prompt_tokens, 2) for _ in range(plan.rounds)]
            yield MeasureItem(f"{target.model} with {target.engine}: {plan.answer_tokens} tokens of answer")
            answers = [await self._undisturbed(target, 0, plan.answer_tokens) for _ in range(plan.rounds)]
            yield MeasureItem(f"{target.model} with {target.engine}: {loaded.slots} answers together")
            together = [await self._together(target, loaded.slots, plan.answer_tokens) for _ in range(plan.rounds)]
            speed = Speed(
                engine=loaded.engine,
                model=target.model,
                load_s=round(self._residency.load_s.get((loaded.engine, target.model), 0.0), 3),
                prompt_tokens_per_s=_figure([timing.prompt_tokens_per_s for timing in prompts]),
                tokens_per_s=_figure([timing.tokens_per_s for timing in answers]),
                first_token_s=round(median(timing.first_s for timing in answers), 4),
                together=loaded.slots,
                together_tokens_per_s=_figure(together),
                memory_bytes=self._memory_of(target),
                threads=target.threads,
                at=time.time(),
            )
            await asyncio.to_thread(self._speeds.note, speed)
            yield MeasureItem(speed=speed)
        except (Unavailable, NotFound, StorageError) as error:
            yield MeasureItem(failed=f"{target.model} with {target.engine}: {error}")

    def _loaded(self, target: Target) -> EngineInfo:
        if target.info is not None:
            return target.info
        resident = self._residency.loaded().get(target.model)
        info = next(iter(resident.chain.infos()), None) if resident is not None else None
        if info is None:
            raise Unavailable("it was unloaded again meanwhile")
        return info

    def _memory_of(self, target: Target) -> int:
        workers = self._residency.workers()
        worker = workers.get(target.asked_as)
        return int(worker.rss_bytes()) if worker is not None else 0

    async def _undisturbed(self, target: Target, prompt_tokens: int, answer_tokens: int) -> Timing:
        """Return the timing of a round in which nothing else ran (rule 1)."""
        for _ in range(MAX_DISTURBED):
            try:
                return await self._answer(target, self._prompt(prompt_tokens), answer_tokens)
            except _DisturbedError:
                await self._until_idle()
        raise Unavailable("the models were asked for something else all the time; try again when nobody uses them")

    async def _together(self, target: Target, count: int, answer_tokens: int) -> float:
        """Return the tokens per second of `count` answers at once, from the first token of any to the last of all."""
        for _ in range(MAX_DISTURBED):
            began = time.monotonic()
            asked = [
                asyncio.create_task(self._answer(target, self._prompt(0), answer_tokens, alone=False))
                for _ in range(count)
            ]
            try:
                timings = await asyncio.gather(*asked)
            except _DisturbedError:
                await self._until_idle()
                continue
            finally:
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
            first, last = min(one.first_s for one in timings), max(one.last_s for one in timings)
            log.debug("%d together took %.2f s", count, time.monotonic() - began)
            return (sum(one.tokens for one in timings) - 1) / (last - first) if last > first else 0.0
        raise Unavailable("the models were asked for something else all the time; try again when nobody uses them")

    async def _answer(self, target: Target, prompt: str, max_tokens: int, *, alone: bool = True) -> Timing:
        """Run one answer; raises `_DisturbedError` when something else ran beside it, `Unavailable`."""
        request = ChatRequest(
            [Message("user", prompt)], model=target.asked_as, max_tokens=max_tokens, temperature=0.0, background=True
        )
        began, first, last, tokens, disturbed = time.monotonic(), 0.0, 0.0, 0, False
        usage = calls.Usage()
        self._asked += 1
        try:
            async with aclosing(self._residency.generate(request, DEADLINE_S)) as items:
                async for item in items:
                    now = time.monotonic()
                    if item.engine and (item.engine, item.model) != (target.engine, target.model):
                        raise Unavailable(f"{item.engine} answered in its place: {self._why_not(target)}")
                    if item.loading:
                        began = now  # loading is measured for itself
                    disturbed |= (bool(item.queue_position) and alone) or self._others() > 0
                    if item.text:
                        first = first or now - began
                        last = now - began
                        tokens += 1
                    usage = item.usage or usage
        finally:
            self._asked -= 1
        if disturbed:
            raise _DisturbedError
        if not tokens:
            raise Unavailable("it answered nothing")
        return Timing(
            max(0, usage.prompt_tokens - usage.cached_tokens), first, max(tokens, usage.completion_tokens), last
        )

    def _why_not(self, target: Target) -> str:
        return self._residency.reasons.get(target.asked_as, "it failed")

    def _others(self) -> int:
        queued, running, _ = self._residency.load()
        return max(0, queued + running - self._asked)

    def _is_idle(self) -> bool:
        return not self._residency.is_busy

    async def _until_idle(self) -> None:
        until = time.monotonic() + IDLE_S
        while not self._is_idle():
            if time.monotonic() > until:
                raise Unavailable("the models are in use; try again when nobody uses them")
            await asyncio.sleep(LOOK_S)

    def _prompt(self, tokens: int) -> str:
        """Return a prompt of about so many tokens that no cache has seen (rule 3)."""
        words = _SENTENCE.split()
        filling = [words[i % len(words)] for i in range(int(tokens * _WORDS_PER_TOKEN))]
        count = "Count from 1 to 200. Write the numbers only, separated by commas."
        return f"{self._rng.randrange(10**9)}. {' '.join(filling)} {count}"


def _figure(values: Sequence[float]) -> float:
    return round(median(values), 2)
