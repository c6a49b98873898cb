"""The way of a question at the node that a person asked: prepare, generate, remember.

Rules
1. Nobody can prepare: this node prepares by itself, by rules and keywords, and says so.
2. A node is lost while it answers: the next one continues from the text already shown; the reader is told. What was
   shown counts against the answer's length.
3. Nobody can generate and nothing was shown: the answer is the best passages, marked as such, never an empty error.
4. Nobody can go on with a text already shown: the answer is cut, and ends with an error, never with `done`.
5. Only a finished answer is remembered, after the reader has it; the reader never waits for memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec

from tarsd import calls, routing
from tarsd.calls import ChatRequest, PrepareItem, PrepareRequest, RememberRequest
from tarsd.dispatch import Call, Dispatch
from tarsd.dispatch.dispatch import new_trace
from tarsd.errors import InvalidInput, Overloaded, PeerLost, TarsdError, Unavailable
from tarsd.gossip.member import Member
from tarsd.host import events
from tarsd.host.events import Event, Question
from tarsd.host.passages import Records, prepare_alone
from tarsd.metrics import Metrics
from tarsd.names import ConversationId, NodeId
from tarsd.planning.prompt import passages_answer
from tarsd.planning.texts import texts

log = logging.getLogger(__name__)

MAX_QUESTION_CHARACTERS = 32_000
MAX_MEMORY_TASKS = 32  # beyond it new exchanges are not remembered: memory must not grow with a dead holder
DEFAULT_CONTEXT_TOKENS = 8192
DEFAULT_MAX_TOKENS = 512
TELLING_TEMPERATURE = 0.2
FREE_TEMPERATURE = 0.7
REPEAT_PENALTY = 1.1  # a small model that tells from passages would else say one sentence again and again


class _Answer(msgspec.Struct):
    """What is known of an answer while it is made."""

    question: Question
    started: float
    shown: list[str] = []  # piece by piece; engines give a piece for about each token
    shown_before: int = 0  # how many of these came from nodes that were lost
    first_token_s: float = 0.0
    prepared_by: str = ""
    degraded: list[str] = []
    engine: str = ""
    model: str = ""
    generated_by: str = ""
    finish: calls.ChatItem | None = None

    def text(self) -> str:
        """Return what the reader has seen."""
        return "".join(self.shown)


class Host:
    """Answers questions on behalf of people, wherever in the cluster the work is done."""

    def __init__(
        self,
        node_name: str,
        dispatch: Dispatch,
        members: Callable[[], Sequence[Member]],
        records: Records,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._name = node_name
        self._dispatch = dispatch
        self._members = members
        self._records = records
        self._metrics = metrics or Metrics()
        self._memory_tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """End what is still being remembered."""
        for task in self._memory_tasks:
            task.cancel()
        await asyncio.gather(*self._memory_tasks, return_exceptions=True)

    async def ask(self, question: Question) -> AsyncGenerator[Event, None]:
        """Yield the events of the answer; closing the generator stops the generation. Raises nothing of ours."""
        if not question.trace:
            question = msgspec.structs.replace(question, trace=new_trace())
        self._metrics.question_asked()
        try:
            _check(question)
            async with aclosing(self._answer(question)) as answer:
                async for event in answer:
                    yield event
        except TarsdError as error:
            retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
            yield events.ErrorEvent(type(error).__name__, str(error), retry_after_s)

    async def _answer(self, question: Question) -> AsyncGenerator[Event, None]:
        answer = _Answer(question, time.monotonic())
        prepared = await self._prepare(answer)
        yield events.RouteEvent(prepared.route, answer.prepared_by, prepared.language, prepared.reasons, question.trace)
        for reason in answer.degraded:
            yield events.NoticeEvent("degraded", reason)
        if prepared.sources:
            yield events.SourcesEvent([_source(n, p) for n, p in enumerate(prepared.sources, 1)])
        async with aclosing(self._generate(answer, prepared)) as pieces:
            async for event in pieces:
                yield event
        yield self._done(answer)
        self._metrics.first_token(answer.first_token_s)
        self._metrics.answered(prepared.route, degraded=bool(answer.degraded))
        if question.conversation and answer.finish is not None:
            self._remember_later(question, answer.text(), prepared)

    async def _prepare(self, answer: _Answer) -> PrepareItem:
        question = answer.question
        request = PrepareRequest(
            question=question.text,
            conversation=question.conversation,
            turns=list(question.turns),
            language=question.language,
            context_tokens=self._context_tokens(),
            max_tokens=question.max_tokens or DEFAULT_MAX_TOKENS,
        )
        call = self._dispatch.call(calls.PREPARE, request, trace=question.trace)
        try:
            prepared = await call.one()
            answer.prepared_by = call.member.name if call.member else self._name
        except InvalidInput:
            raise
        except TarsdError as error:  # whatever is wrong there, this node can still prepare by itself
            log.info("%s: nobody could prepare, going on alone: %s", question.trace, error)
            lost = call.member.name if call.member else ""
            prepared = await prepare_alone(self._records, request, node=self._name, lost=lost)
            answer.prepared_by = self._name
        if prepared.degraded:
            answer.degraded.append(prepared.degraded)
        return prepared

    async def _generate(self, answer: _Answer, prepared: PrepareItem) -> AsyncGenerator[Event, None]:
        words = texts(prepared.language)
        lost: frozenset[NodeId] = frozenset()
        reason = ""
        while answer.finish is None:
            model_before = answer.model
            answer.shown_before = len(answer.shown)
            call = self._dispatch.call(
                calls.CHAT, _chat_request(answer, prepared), trace=answer.question.trace, exclude=lost
            )
            try:
                async with call:
                    async for item in call:
                        for event in _take(answer, item, call, words.waiting):
                            yield event
                        if lost and answer.shown_before and item.engine:
                            yield _handed_over(answer, model_before, prepared.language)
                if answer.finish is None:
                    raise PeerLost("the answer ended without its last part")
            except Unavailable as error:
                if isinstance(error, Overloaded) and not answer.shown:
                    raise
                reason = reason or str(error)
                if call.tried > lost:
                    lost = call.tried
                    continue
                if answer.shown:
                    raise type(error)(words.cut.format(reason=reason)) from error
                for event in _passages_instead(answer, prepared, reason):
                    yield event
                return

    def _done(self, answer: _Answer) -> events.DoneEvent:
        finish = answer.finish
        return events.DoneEvent(
            finish_reason="length" if finish and finish.finish_reason == "length" else "stop" if finish else "passages",
            generated_by=answer.generated_by or self._name,
            prepared_by=answer.prepared_by,
            engine=answer.engine,
            model=answer.model,
            degraded=answer.degraded,
            usage=_usage(answer),
            first_token_s=round(answer.first_token_s, 4),
            total_s=round(time.monotonic() - answer.started, 4),
        )

    def _context_tokens(self) -> int:
        """Return the smallest context among the models that may answer, so that a hand-over fits too."""
        known = [
            attributes.get("context_tokens")
            for member in self._members()
            if (attributes := member.capabilities.get(calls.CHAT.name)) is not None
        ]
        return min((int(n) for n in known if isinstance(n, int) and n > 0), default=DEFAULT_CONTEXT_TOKENS)

    def _remember_later(self, question: Question, text: str, prepared: PrepareItem) -> None:
        if len(self._memory_tasks) >= MAX_MEMORY_TASKS:
            log.warning("%s: not remembered, %d exchanges are still waiting", question.trace, MAX_MEMORY_TASKS)
            return
        files = sorted({passage.file for passage in prepared.sources})
        request = RememberRequest(question.conversation, question.text, text, files)
        task = asyncio.create_task(self._remember(question, request))
        self._memory_tasks.add(task)
        task.add_done_callback(self._memory_tasks.discard)

    async def _remember(self, question: Question, request: RememberRequest) -> None:
        holder = conversation_holder(self._members(), question.conversation)
        try:
            await self._dispatch.one(calls.REMEMBER, request, trace=question.trace, only=holder)
        except TarsdError as error:
            log.info("%s: the exchange was not remembered: %s", question.trace, error)


def conversation_holder(members: Sequence[Member], conversation: ConversationId) -> NodeId | None:
    """Return the node that keeps a conversation's summary: rendezvous hashing over those that can."""
    return routing.holder(members, calls.REMEMBER.name, conversation)


def _check(question: Question) -> None:
    if not question.text.strip():
        raise InvalidInput("text: the question is empty")
    if len(question.text) > MAX_QUESTION_CHARACTERS:
        raise InvalidInput(f"text: {len(question.text)} characters, at most {MAX_QUESTION_CHARACTERS} are taken")


def _chat_request(answer: _Answer, prepared: PrepareItem) -> ChatRequest:
    question = answer.question
    return ChatRequest(
        messages=prepared.messages,
        partial=answer.text(),
        max_tokens=max(1, (question.max_tokens or DEFAULT_MAX_TOKENS) - len(answer.shown)),
        temperature=_temperature(question, prepared),
        top_p=question.top_p,
        repeat_penalty=REPEAT_PENALTY,
        seed=question.seed,
        stop=list(question.stop),
        conversation=question.conversation,
    )


def _usage(answer: _Answer) -> calls.Usage:
    """Return what the whole answer cost, with the tokens of nodes that were lost on the way."""
    last = (answer.finish.usage if answer.finish else None) or calls.Usage()
    return calls.Usage(last.prompt_tokens, last.completion_tokens + answer.shown_before)


def _temperature(question: Question, prepared: PrepareItem) -> float:
    """Return how freely to write: what stands in documents is to be told, not varied."""
    if question.temperature is not None:
        return question.temperature
    return TELLING_TEMPERATURE if prepared.sources else FREE_TEMPERATURE


def _take(answer: _Answer, item: calls.ChatItem, call: Call[calls.ChatItem], waiting: str) -> list[Event]:
    """Fold one item into the answer and return what the reader is to see of it."""
    if call.member is not None:
        answer.generated_by = call.member.name
    answer.engine = item.engine or answer.engine
    answer.model = item.model or answer.model
    if item.finish_reason:
        answer.finish = item
    if item.queue_position:
        text = waiting.format(position=item.queue_position)
        return [events.NoticeEvent("waiting", text, item.queue_position)]
    if not item.text:
        return []
    if not answer.shown:
        answer.first_token_s = time.monotonic() - answer.started
    answer.shown.append(item.text)
    return [events.TokenEvent(item.text)]


def _handed_over(answer: _Answer, model_before: str, language: str) -> events.NoticeEvent:
    words = texts(language)
    sentence = words.handed_over if answer.model == model_before else words.handed_over_model
    return events.NoticeEvent("handover", sentence.format(node=answer.generated_by, model=answer.model))


def _passages_instead(answer: _Answer, prepared: PrepareItem, reason: str) -> list[Event]:
    answer.degraded.append(reason)
    answer.first_token_s = time.monotonic() - answer.started
    text = passages_answer(prepared.sources, prepared.language)
    answer.shown.append(text)
    return [events.NoticeEvent("degraded", reason), events.TokenEvent(text)]


def _source(number: int, passage: calls.Passage) -> events.Source:
    return events.Source(number, passage.file, passage.page, passage.start, passage.end, passage.text, passage.document)
