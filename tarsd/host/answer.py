"""What is known of an answer while it is made: folds the items of `chat` into events, and counts. No I/O.

Rules
1. The text is `shown` (what the reader of a resumed answer has) and then each new piece; only new pieces are events.
2. What was shown counts against the answer's length, whoever wrote it.
3. A reader learns who goes on when another node does, with the first item that names its engine.
"""

from __future__ import annotations

import time

import msgspec

from tarsd import calls
from tarsd.calls import ChatRequest, PrepareItem
from tarsd.host import events
from tarsd.host.events import Event, Question
from tarsd.planning.prompt import passages_answer
from tarsd.planning.texts import Texts, texts

TELLING_TEMPERATURE = 0.2
FREE_TEMPERATURE = 0.7
REPEAT_PENALTY = 1.1  # a small model that tells from passages would else say one sentence again and again
CHARACTERS_PER_TOKEN = 4  # of a text that came back from a reader: its tokens were counted by a node that is lost


class Answer(msgspec.Struct):
    """One answer; `shown` grows piece by piece, engines give a piece for about each token."""

    question: Question
    most_tokens: int
    started: float
    shown: list[str] = []
    tokens: int = 0  # in `shown`, about
    tokens_before: int = 0  # how many of these came from nodes that were lost
    first_token_s: float = 0.0
    prepared_by: str = ""
    degraded: list[str] = []
    engine: str = ""
    model: str = ""
    generated_by: str = ""
    finish: calls.ChatItem | None = None

    @classmethod
    def begin(cls, question: Question, most_tokens: int, now: float) -> Answer:
        """Return an answer of at most so many tokens that begins, or goes on after `question.shown`."""
        answer = cls(question, most_tokens, now)
        if question.shown:
            answer.shown.append(question.shown)
            answer.tokens = max(1, len(question.shown) // CHARACTERS_PER_TOKEN)
        return answer

    def text(self) -> str:
        """Return what the reader has seen."""
        return "".join(self.shown)

    def request(self, prepared: PrepareItem) -> ChatRequest:
        """Return what to ask of the next node (rule 2)."""
        question = self.question
        self.tokens_before = self.tokens
        return ChatRequest(
            messages=prepared.messages,
            partial=self.text(),
            max_tokens=max(1, self.most_tokens - self.tokens),
            temperature=_temperature(question, prepared),
            top_p=question.top_p,
            repeat_penalty=REPEAT_PENALTY,
            seed=question.seed,
            stop=list(question.stop),
            conversation=question.conversation,
            answer=question.answer,
        )

    def take(self, item: calls.ChatItem, node: str, words: Texts) -> Event | None:
        """Fold one item in and return what the reader is to see of it."""
        self.generated_by = node or self.generated_by
        self.engine = item.engine or self.engine
        self.model = item.model or self.model
        if item.finish_reason:
            self.finish = item
        if item.queue_position:
            form = words.waiting_about if item.wait_s else words.waiting
            sentence = form.format(position=item.queue_position, wait=_rounded(item.wait_s))
            return events.NoticeEvent("waiting", sentence, item.queue_position, item.wait_s)
        if item.loading:
            return events.NoticeEvent("waiting", words.loading, wait_s=item.wait_s)
        return self._show(item.text) if item.text else None

    def handed_over(self, model_before: str, language: str) -> events.NoticeEvent:
        """Return the notice that another node goes on, with its model where that is another one (rule 3)."""
        words = texts(language)
        sentence = words.handed_over if self.model == model_before else words.handed_over_model
        return events.NoticeEvent("handover", sentence.format(node=self.generated_by, model=self.model))

    def passages_instead(self, prepared: PrepareItem, reason: str) -> list[Event] | None:
        """Return the answer of last resort, as far as the reader lacks it; None where another text was begun."""
        text, shown = passages_answer(prepared.sources, prepared.language, prepared.memories), self.text()
        if not text.startswith(shown):
            return None
        self.degraded.append(reason)
        rest = self._show(text[len(shown) :])
        return [events.NoticeEvent("degraded", reason), rest]

    def tell(self, text: str) -> events.TokenEvent:
        """Return a sentence of this node's own as a piece of the answer."""
        return self._show(text)

    def done(self, here: str, now: float) -> events.DoneEvent:
        """Return the last event of a whole answer; `here` is this node's name."""
        finish = self.finish
        return events.DoneEvent(
            finish_reason="length" if finish and finish.finish_reason == "length" else "stop" if finish else "passages",
            generated_by=self.generated_by or here,
            prepared_by=self.prepared_by,
            engine=self.engine,
            model=self.model,
            degraded=self.degraded,
            limit=finish.limit if finish else "",
            usage=self._usage(),
            first_token_s=round(self.first_token_s, 4),
            total_s=round(now - self.started, 4),
        )

    def _show(self, text: str) -> events.TokenEvent:
        if not self.first_token_s:
            self.first_token_s = time.monotonic() - self.started
        self.shown.append(text)
        self.tokens += 1
        return events.TokenEvent(text)

    def _usage(self) -> calls.Usage:
        """Return what the whole answer cost, with the tokens of nodes that were lost on the way."""
        last = (self.finish.usage if self.finish else None) or calls.Usage()
        return msgspec.structs.replace(last, completion_tokens=last.completion_tokens + self.tokens_before)


def _temperature(question: Question, prepared: PrepareItem) -> float:
    """Return how freely to write: what stands in documents, or is remembered, is to be told, not varied."""
    if question.temperature is not None:
        return question.temperature
    is_told = prepared.sources or any(memory.sort == "fact" for memory in prepared.memories)
    return TELLING_TEMPERATURE if is_told else FREE_TEMPERATURE


def _rounded(wait_s: float) -> int:
    """Return an estimate as people tell one: not more exact than it is."""
    return max(1, round(wait_s)) if wait_s < 10 else round(wait_s / 5) * 5
