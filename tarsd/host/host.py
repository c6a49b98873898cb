"""The way of a question at the node that a person asked: prepare, generate, remember.

Rules
1. Nobody can prepare: this node prepares by itself, by rules and keywords, and says so.
2. A node is lost while it answers: the next one continues from the text already shown (`carrying`), or the same one
   once its engine is back; the reader is told. What was shown counts against the answer's length.
3. Nobody can generate and nothing was shown: the answer is the best passages, marked as such, never an empty error.
4. Nobody can go on with a text already shown: the answer is cut, and ends with an error, never with `done`.
5. A reader who comes back with the answer's id and what it has (`Question.shown`) gets the rest: prepared again, with
   the very passages that the text cites where they are here, and continued as after a loss. Of two readers of one
   answer the newer one stays.
6. What asks that something be remembered or forgotten is carried out here, without a model: see `wishes`. What is
   asked beside it is answered as if it were asked alone, and ends with what came of the wish.
7. What is remembered of an answer, and how: see `remembering`; what is learned of its question: `learning`. A temporary
   chat is prepared from its own turns alone. What was forgotten is left out of the turns as well: see `turns`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec

from tarsd import calls
from tarsd.calls import PrepareItem, PrepareRequest
from tarsd.dispatch import Dispatch
from tarsd.dispatch.dispatch import new_trace
from tarsd.dispatch.newest import Newest
from tarsd.errors import InvalidInput, Overloaded, TarsdError, Unavailable, to_wire
from tarsd.gossip.member import Member
from tarsd.host import events
from tarsd.host.answer import Answer
from tarsd.host.carrying import PATIENCE_S, carried
from tarsd.host.events import DEFAULT_MAX_TOKENS, MAX_QUESTION_CHARACTERS, MAX_SHOWN_CHARACTERS, Event, Question
from tarsd.host.learning import Learning
from tarsd.host.passages import Records, prepare_again, prepare_alone
from tarsd.host.remembering import Remembering
from tarsd.host.turns import Turns
from tarsd.host.wishes import Wish, Wishes, wish_of
from tarsd.memory.forgetting import Forgotten, LetGo
from tarsd.metrics import Metrics
from tarsd.names import AnswerId, ConversationId, RecordId, Route
from tarsd.planning.language import detect_language
from tarsd.planning.texts import texts
from tarsd.planning.wish_language import wish_language

log = logging.getLogger(__name__)

DEFAULT_CONTEXT_TOKENS = 8192


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
        patience_s: float = PATIENCE_S,
        learns: bool = False,
    ) -> None:
        self._name = node_name
        self._dispatch = dispatch
        self._members = members
        self._records = records
        self._metrics = metrics or Metrics()
        self._patience_s = patience_s
        self._wishes = Wishes(dispatch)
        self._learning = Learning(dispatch, is_on=learns)
        self._answers: Newest[Event] = Newest()
        self._turns = Turns()
        self._listeners: list[Callable[[Forgotten], None]] = []
        self._remembering = Remembering(dispatch, members)

    async def stop(self) -> None:
        """End what is still being remembered."""
        await self._remembering.stop()
        await self._learning.stop()

    def on_forgotten(self, listener: Callable[[Forgotten], None]) -> None:
        """Have who keeps turns of open chats told of what is forgotten, before it is said to be gone here."""
        self._listeners.append(listener)

    async def let_go(self, forgotten: Forgotten) -> LetGo:
        """Let go of what the conversations hosted here tell of what is forgotten."""
        self._turns.let_go(forgotten)
        for listener in self._listeners:
            listener(forgotten)
        return LetGo(conversations=self._remembering.let_go(forgotten))

    async def ask(self, question: Question) -> AsyncGenerator[Event, None]:
        """Yield the events of the answer; closing the generator stops the generation. Raises nothing of ours."""
        question = msgspec.structs.replace(
            question, trace=question.trace or new_trace(), answer=question.answer or new_answer()
        )
        self._metrics.question_asked()
        try:
            _check(question)
            async with aclosing(self._answers.give(question.answer, self._answer(question))) as answer:
                async for event in answer:
                    yield event
        except TarsdError as error:
            yield events.ErrorEvent(*to_wire(error))

    async def _answer(self, question: Question) -> AsyncGenerator[Event, None]:
        yield events.AnswerEvent(question.answer)
        wish = wish_of(question)
        if wish is not None and not wish.rest:
            async with aclosing(self._grant(question, wish)) as told:
                async for event in told:
                    yield event
            return
        granted = None
        if wish is not None:
            if wish.told not in question.shown:  # else it was resumed; what is known is not saved twice anyway
                language = detect_language(question.text) or question.language or "en"
                granted = await self._wishes.grant(question, wish, language)
            question = msgspec.structs.replace(question, text=wish.rest)
        question = msgspec.structs.replace(question, turns=self._turns.still_told(question.turns))
        most = question.max_tokens or self._offered("max_tokens", DEFAULT_MAX_TOKENS)
        answer = Answer.begin(question, most, time.monotonic())
        prepared = await self._prepare(answer)
        yield events.RouteEvent(prepared.route, answer.prepared_by, prepared.language, prepared.reasons, question.trace)
        for reason in answer.degraded:
            yield events.NoticeEvent("degraded", reason)
        if prepared.memories:
            yield events.MemoriesEvent([_remembered(memory) for memory in prepared.memories])
        if prepared.sources:
            yield events.SourcesEvent([_source(n, p) for n, p in enumerate(prepared.sources, 1)])
        async with aclosing(self._generate(answer, prepared)) as pieces:
            async for event in pieces:
                yield event
        text = answer.text()
        if granted is not None:
            for notice in granted.notices:
                answer.degraded.append(notice)
                yield events.NoticeEvent("degraded", notice)
            yield answer.tell(f"\n\n{granted.text}")
        yield answer.done(self._name, time.monotonic())
        self._metrics.first_token(answer.first_token_s)
        self._metrics.answered(prepared.route, degraded=bool(answer.degraded))
        if answer.finish is not None:
            self._remembering.remember_later(question, text, prepared)
        self._learning.learn_later(question, prepared.memories)

    async def _grant(self, question: Question, wish: Wish) -> AsyncGenerator[Event, None]:
        """Carry out a wish to the memory; one that was answered already is not carried out twice."""
        told = wish_language(question.text) or detect_language(question.text)
        language = told or question.language or "en"
        answer = Answer.begin(question, DEFAULT_MAX_TOKENS, time.monotonic())
        answer.prepared_by = self._name
        reasons = ["asks something of the memory"]
        yield events.RouteEvent(Route.INFERENCE_ONLY, self._name, language, reasons, question.trace)
        if not question.shown:
            granted = await self._wishes.grant(question, wish, language)
            for notice in granted.notices:
                answer.degraded.append(notice)
                yield events.NoticeEvent("degraded", notice)
            yield answer.tell(granted.text)
        answer.finish = calls.ChatItem(finish_reason="stop")
        yield answer.done(self._name, time.monotonic())
        self._metrics.answered(Route.INFERENCE_ONLY, degraded=bool(answer.degraded))

    async def _prepare(self, answer: Answer) -> PrepareItem:
        question = answer.question
        context_tokens = self._offered("context_tokens", DEFAULT_CONTEXT_TOKENS)
        request = PrepareRequest(
            question=question.text,
            conversation=ConversationId("") if question.temporary else question.conversation,
            turns=list(question.turns),
            language=question.language,
            context_tokens=context_tokens,
            max_tokens=min(answer.most_tokens, context_tokens // 2),  # half at least is for the prompt
            who=question.who,
            project=question.project,
            temporary=question.temporary,
            seed=self._remembering.seed_of(question),
        )
        if question.shown and question.sources:
            again = await prepare_again(self._records, request, question.sources)
            if again is not None:
                answer.prepared_by = self._name
                return again
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

    async def _generate(self, answer: Answer, prepared: PrepareItem) -> AsyncGenerator[Event, None]:
        words = texts(prepared.language)
        question = answer.question
        parts = carried(
            self._dispatch,
            self._members,
            lambda: answer.request(prepared),
            is_continued=bool(answer.shown),
            patience_s=self._patience_s,
            trace=question.trace,
            conversation=question.conversation,
        )
        model_before = ""
        try:
            async with aclosing(parts):
                async for part in parts:
                    if part.item.engine:
                        model_before = answer.model
                    event = answer.take(part.item, part.node, words)
                    if event is not None:
                        yield event
                    if part.losses and answer.tokens_before and part.item.engine:
                        yield answer.handed_over(model_before, prepared.language)
        except Unavailable as error:
            if isinstance(error, Overloaded) and not answer.shown:
                raise
            instead = answer.passages_instead(prepared, str(error))
            if instead is None:
                raise _cut(error, words.cut) from error
            for event in instead:
                yield event

    def _offered(self, attribute: str, default: int) -> int:
        """Return the smallest figure among the models that may answer, so that a hand-over fits too."""
        known = [
            attributes.get(attribute)
            for member in self._members()
            if (attributes := member.capabilities.get(calls.CHAT.name)) is not None
        ]
        return min((int(n) for n in known if isinstance(n, int) and n > 0), default=default)


def new_answer() -> AnswerId:
    """Return an id that nobody can guess: whoever knows it takes the answer over."""
    return AnswerId(secrets.token_urlsafe(16))


def _check(question: Question) -> None:
    if not question.text.strip():
        raise InvalidInput("text: the question is empty")
    if len(question.shown) > MAX_SHOWN_CHARACTERS:
        raise InvalidInput(f"shown: {len(question.shown)} characters, at most {MAX_SHOWN_CHARACTERS} are taken")
    if len(question.text) > MAX_QUESTION_CHARACTERS:
        raise InvalidInput(f"text: {len(question.text)} characters, at most {MAX_QUESTION_CHARACTERS} are taken")


def _cut(reason: Unavailable, sentence: str) -> Unavailable:
    """Return the error that ends an answer which nobody can go on with; a full queue still says when to come again."""
    text = sentence.format(reason=reason)
    return Overloaded(text, reason.retry_after_s) if isinstance(reason, Overloaded) else type(reason)(text)


def _remembered(memory: calls.Memory) -> events.RememberedMemory:
    return events.RememberedMemory(memory.key, memory.text, memory.title, memory.made_at, memory.sort)


def _source(number: int, passage: calls.Passage) -> events.Source:
    return events.Source(
        number,
        passage.file,
        passage.page,
        passage.start,
        passage.end,
        passage.text,
        passage.document,
        RecordId(passage.id),
    )
