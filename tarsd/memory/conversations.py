"""Layer 1 of memory: the last conversations, each a rolling summary and what it is about. RAM only.

Rules
1. No raw text comes in here, so none can leak from here: only a summary, bounded, and names of documents.
2. The conversation that was touched longest ago makes room.
3. A node that takes over from a dead holder is seeded with what the host still knows.
4. An exchange whose answer counted already (one of the last `MAX_ANSWERS`) is not counted again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec

from tarsd.calls import RecallItem
from tarsd.names import AnswerId, ConversationId

# Ten conversations must fit a megabyte, whatever a model writes.
MAX_SUMMARY_CHARS = 8_000
MAX_RELATIONS = 50
MAX_RELATION_CHARS = 255
MAX_ANSWERS = 16  # a repeat comes within minutes of the first


class Conversation(msgspec.Struct, frozen=True):
    """What is remembered of one conversation; times in seconds since 1970, documents latest last."""

    summary: str
    exchanges: int
    documents: tuple[str, ...]
    began_at: float
    touched_at: float
    person: str = ""
    projects: tuple[str, ...] = ()
    answers: tuple[AnswerId, ...] = ()  # those that counted last, latest last


class Conversations:
    """The last `limit` conversations of a node."""

    def __init__(self, limit: int = 10, *, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._kept: OrderedDict[ConversationId, Conversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def remember(
        self,
        conversation: ConversationId,
        summary: str,
        documents: Iterable[str] = (),
        *,
        projects: Iterable[str] = (),
        person: str = "",
        of: AnswerId | None = None,
    ) -> Conversation:
        """Take the summary that one more exchange was folded into; return the conversation as it is kept now.

        `of` is the exchange's answer, to be known again (`repeated`).
        """
        before = self._kept.get(conversation)
        now = self._clock()
        kept = Conversation(
            summary=_bounded(summary),
            exchanges=(before.exchanges if before else 0) + 1,
            documents=_related(before.documents if before else (), documents),
            began_at=before.began_at if before else now,
            touched_at=now,
            person=person or (before.person if before else ""),
            projects=_related(before.projects if before else (), projects),
            answers=((before.answers if before else ()) + ((of,) if of else ()))[-MAX_ANSWERS:],
        )
        self._keep(conversation, kept)
        return kept

    def repeated(self, conversation: ConversationId, of: AnswerId) -> Conversation | None:
        """Return the conversation when this answer has counted in it already (rule 4)."""
        kept = self._kept.get(conversation)
        return kept if kept is not None and of in kept.answers else None

    def recall(self, conversation: ConversationId) -> RecallItem:
        """Return what is remembered of a conversation; an unknown one has no exchanges."""
        kept = self._kept.get(conversation)
        if kept is None:
            return RecallItem()
        return RecallItem(kept.summary, kept.exchanges, list(kept.documents))

    def seed(self, conversation: ConversationId, state: RecallItem) -> None:
        """Take over a conversation whose holder is gone, unless it is known here with as many exchanges."""
        known = self._kept.get(conversation)
        if state.exchanges == 0 or (known is not None and known.exchanges >= state.exchanges):
            return
        now = self._clock()
        documents = _related((), state.documents)
        self._keep(conversation, Conversation(_bounded(state.summary), state.exchanges, documents, now, now))

    def forget(self, conversation: ConversationId) -> bool:
        """Drop a conversation; say whether it was here."""
        return self._kept.pop(conversation, None) is not None

    def rewrite(self, conversation: ConversationId, summary: str) -> None:
        """Put another summary in the place of the one that is kept, if it is; it was not touched by that."""
        if (kept := self._kept.get(conversation)) is not None:
            self._kept[conversation] = msgspec.structs.replace(kept, summary=_bounded(summary))

    def list(self) -> list[tuple[ConversationId, Conversation]]:
        """Return all of them, the one touched last first."""
        return list(reversed(self._kept.items()))

    def _keep(self, conversation: ConversationId, kept: Conversation) -> None:
        self._kept[conversation] = kept
        self._kept.move_to_end(conversation)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)


def _bounded(summary: str) -> str:
    return summary if len(summary) <= MAX_SUMMARY_CHARS else summary[: MAX_SUMMARY_CHARS - 1] + "…"


def _related(before: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    """Return the names without repetition, those seen last at the end, the oldest dropped beyond the bound."""
    cut = [name[:MAX_RELATION_CHARS] for name in new]
    kept = [name for name in before if name not in cut]
    return tuple([*kept, *dict.fromkeys(cut)][-MAX_RELATIONS:])
