"""Layer 1 of memory: the last conversations, each a rolling summary and what it is about. RAM only.

Rules
1. No raw text comes in here, so none can leak from here: only a summary, bounded, and names of documents.
2. The conversation that was touched longest ago makes room; `on_ended` is told of it.
3. A node that takes over from a dead holder is seeded with what the host still knows. Of two states of a conversation,
   as a partition leaves them, the one with more exchanges wins whole: what both counted is not counted twice.
4. An exchange whose answer counted already (one of the last `MAX_ANSWERS`) is not counted again.
5. A conversation is its person's: one with the same id that another person talks in is another conversation.
6. One is due to be written down when it has `LONG` exchanges that are not yet, or when nobody touched it for `QUIET_S`;
   a single exchange is no conversation.
7. A conversation is a project's as long as every exchange was told in that project. Once one was not, it is its
   person's for good: the members are not shown what was said before the project was chosen, or after, and the household
   not what nobody in particular said in a project.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from tarsd.calls import RecallItem, RememberRequest
from tarsd.memory.bodies import Scope
from tarsd.names import AnswerId, ConversationId

# Ten conversations must fit a megabyte, whatever a model writes.
MAX_SUMMARY_CHARS = 8_000
MAX_TITLE_CHARS = 80
MAX_RELATIONS = 50
MAX_RELATION_CHARS = 255
MAX_RECALLED = 120  # a profile whole, and what many questions were about beside it
MAX_ANSWERS = 16  # a repeat comes within minutes of the first
MAX_NAME_CHARS = 64

LONG = 12
QUIET_S = 24 * 3600.0
LEAST = 2

Key = tuple[str, ConversationId]  # person and conversation (rule 5)


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
    document_ids: tuple[str, ...] = ()
    recalled: tuple[str, ...] = ()
    language: str = ""
    title: str = ""
    kept_exchanges: int = 0  # how many of them are in the summary that was written down
    mixed: bool = False  # told in a project and outside of it (rule 7)


_NEW = Conversation("", 0, (), 0.0, 0.0)

Ended = Callable[[ConversationId, Conversation], None]


def _nobody(conversation: ConversationId, kept: Conversation) -> None:
    return


class Conversations:
    """The last `limit` conversations of a node; `on_ended` is called with each that makes room for another."""

    def __init__(self, limit: int = 10, *, clock: Callable[[], float] = time.time, on_ended: Ended = _nobody) -> None:
        self._limit = limit
        self._clock = clock
        self._on_ended = on_ended
        self._kept: OrderedDict[Key, Conversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def remember(self, told: RememberRequest, summary: str, *, language: str = "", title: str = "") -> Conversation:
        """Take the summary that one more exchange was folded into; return the conversation as it is kept now.

        Of what was `told` only its relations are kept, never its texts (rule 1). `title` names a new conversation.
        """
        now = self._clock()
        before = self._kept.get((told.person, told.conversation)) or Conversation("", 0, (), now, now)
        kept = Conversation(
            summary=_bounded(summary, MAX_SUMMARY_CHARS),
            exchanges=before.exchanges + 1,
            documents=_related(before.documents, told.documents),
            began_at=before.began_at,
            touched_at=now,
            person=told.person,
            projects=_projects(before, told.project),
            mixed=_is_mixed(before, told.project),
            answers=(before.answers + ((told.of,) if told.of else ()))[-MAX_ANSWERS:],
            document_ids=_related(before.document_ids, told.document_ids),
            recalled=_related(before.recalled, told.recalled, MAX_RECALLED),
            language=language or before.language,
            title=before.title or _bounded(title, MAX_TITLE_CHARS),
            kept_exchanges=before.kept_exchanges,
        )
        self._keep(told.conversation, kept)
        return kept

    def place(self, told: RememberRequest) -> tuple[Scope, str]:
        """Return whose the conversation is once this exchange was told: the scope, and the project."""
        before = self._kept.get((told.person, told.conversation), _NEW)
        projects = _projects(before, told.project)
        return scope_of(told.person, projects, mixed=_is_mixed(before, told.project)), projects[-1] if projects else ""

    def repeated(self, told: RememberRequest) -> Conversation | None:
        """Return the conversation when this answer has counted in it already (rule 4)."""
        kept = self._kept.get((told.person, told.conversation))
        return kept if kept is not None and told.of in kept.answers else None

    def get(self, conversation: ConversationId, person: str = "") -> Conversation | None:
        """Return a conversation of this person; None for an unknown one."""
        return self._kept.get((person, conversation))

    def recall(self, conversation: ConversationId, person: str = "") -> RecallItem:
        """Return what is remembered of a conversation; an unknown one has no exchanges."""
        kept = self._kept.get((person, conversation))
        return RecallItem() if kept is None else state_of(kept)

    def seed(self, conversation: ConversationId, state: RecallItem) -> bool:
        """Take over a conversation whose holder is gone; say whether it was news here (rule 3)."""
        known = self._kept.get((state.person, conversation))
        if state.exchanges <= 0 or (known is not None and not _is_ahead(state, known)):
            return False
        self._keep(conversation, _from_state(state))
        return True

    def due(self) -> list[tuple[ConversationId, Conversation]]:
        """Return those to be written down (rule 6)."""
        now = self._clock()
        return [(conversation, kept) for (_, conversation), kept in self._kept.items() if is_due(kept, now)]

    def was_written(self, conversation: ConversationId, written: Conversation) -> None:
        """Note that a conversation was written down as it was then."""
        key = (written.person, conversation)
        if (kept := self._kept.get(key)) is not None:
            self._kept[key] = msgspec.structs.replace(kept, kept_exchanges=written.exchanges)

    def forget(self, conversation: ConversationId, person: str | None = None) -> bool:
        """Drop a conversation, this person's or (None) whosever; say whether it was here."""
        found = [key for key in self._kept if key[1] == conversation and person in (None, key[0])]
        for key in found:
            del self._kept[key]
        return bool(found)

    def rewrite(self, conversation: ConversationId, kept: Conversation) -> None:
        """Put another state in the place of the one that is kept, where one is: it was not touched by that."""
        if (kept.person, conversation) in self._kept:
            self._kept[kept.person, conversation] = kept

    def list(self) -> list[tuple[ConversationId, Conversation]]:
        """Return all of them, the one touched last first."""
        return [(conversation, kept) for (_, conversation), kept in reversed(self._kept.items())]

    def _keep(self, conversation: ConversationId, kept: Conversation) -> None:
        key = (kept.person, conversation)
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            (_, pushed), ended = self._kept.popitem(last=False)
            self._on_ended(pushed, ended)


def _projects(before: Conversation, project: str) -> tuple[str, ...]:
    """Return what a conversation belongs to after one more exchange (rule 7)."""
    now = (project[:MAX_RELATION_CHARS],) if project else ()
    return now if before.exchanges == 0 or before.projects == now else ()


def _is_mixed(before: Conversation, project: str) -> bool:
    return before.mixed or (
        before.exchanges > 0 and before.projects != ((project[:MAX_RELATION_CHARS],) if project else ())
    )


def scope_of(person: str, projects: Sequence[str], *, mixed: bool) -> Scope:
    """Return who may see what is written down of a conversation (rule 7)."""
    if projects:
        return "project"
    return "person" if person or mixed else "household"


def is_due(kept: Conversation, now: float) -> bool:
    """Tell whether a conversation is to be written down (rule 6)."""
    new = kept.exchanges - kept.kept_exchanges
    return is_worth(kept) and (new >= LONG or now - kept.touched_at >= QUIET_S)


def is_worth(kept: Conversation) -> bool:
    """Tell whether there is anything to be written down that is not yet."""
    return kept.exchanges >= LEAST and kept.exchanges > kept.kept_exchanges and bool(kept.summary)


def state_of(kept: Conversation) -> RecallItem:
    """Return a conversation as it travels."""
    return RecallItem(
        summary=kept.summary,
        exchanges=kept.exchanges,
        documents=list(kept.documents),
        document_ids=list(kept.document_ids),
        projects=list(kept.projects),
        person=kept.person,
        language=kept.language,
        title=kept.title,
        began_at=kept.began_at,
        touched_at=kept.touched_at,
        answers=list(kept.answers),
        recalled=list(kept.recalled),
        kept_exchanges=kept.kept_exchanges,
        mixed=kept.mixed,
    )


def _from_state(state: RecallItem) -> Conversation:
    return Conversation(
        summary=_bounded(state.summary, MAX_SUMMARY_CHARS),
        exchanges=state.exchanges,
        documents=_related((), state.documents),
        began_at=state.began_at,
        touched_at=state.touched_at,
        person=state.person,
        projects=_related((), state.projects),
        answers=tuple(state.answers[-MAX_ANSWERS:]),
        document_ids=_related((), state.document_ids),
        recalled=_related((), state.recalled, MAX_RECALLED),
        language=state.language[:MAX_NAME_CHARS],
        title=_bounded(state.title, MAX_TITLE_CHARS),
        kept_exchanges=state.kept_exchanges,
        mixed=state.mixed,
    )


def _is_ahead(state: RecallItem, known: Conversation) -> bool:
    """More exchanges win; of as many, those that were told later, so that both sides choose the same."""
    return (state.exchanges, state.touched_at) > (known.exchanges, known.touched_at)


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _related(before: tuple[str, ...], new: Iterable[str], most: int = MAX_RELATIONS) -> tuple[str, ...]:
    """Return the names without repetition, those seen last at the end, the oldest dropped beyond the bound."""
    cut = [name[:MAX_RELATION_CHARS] for name in new]
    kept = [name for name in before if name not in cut]
    return tuple([*kept, *dict.fromkeys(cut)][-most:])
