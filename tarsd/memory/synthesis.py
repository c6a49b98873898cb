"""What is written down of a conversation that has ended, and how it goes on from there. Pure.

Rules
1. It has one record, whose id follows from person and conversation: touched again, the same record is written anew.
2. The id tells neither: it is a keyed hash. The salt of the first writing stays.
3. With a project it is the project's, else with a person the person's, else the household's (`conversations`, rule 7).
4. A record with more exchanges, and one that a person wrote, is never set back; one that something took the place of,
   or that was forgotten, is not gone on from.
"""

from __future__ import annotations

from hashlib import blake2b

from tarsd.calls import RecallItem
from tarsd.memory.bodies import Source, SummaryBody
from tarsd.memory.conversations import Conversation, scope_of
from tarsd.memory.facts import dates_of, facts_in, names_of
from tarsd.names import ConversationId

MAX_KEYWORDS = 24
_PURPOSE = b"tarsd summary"


def identity_of(conversation: ConversationId, person: str) -> str:
    """Return the id of a conversation's record (rules 1 and 2)."""
    return blake2b(f"{person}\0{conversation}".encode(), digest_size=16, person=_PURPOSE).hexdigest()


def body_of(conversation: ConversationId, kept: Conversation, salt: bytes) -> SummaryBody:
    """Return what is written down of a conversation."""
    told = facts_in(kept.summary)
    at = kept.touched_at
    made_from = [
        Source(conversation=conversation, at=at, keys=list(kept.recalled)),
        *(Source(conversation=conversation, at=at, document=sha256) for sha256 in kept.document_ids),
    ]
    return SummaryBody(
        id=identity_of(conversation, kept.person),
        title=kept.title,
        text=kept.summary,
        dates=dates_of(told),
        keywords=names_of(kept.summary, told)[:MAX_KEYWORDS],
        language=kept.language,
        salt=salt,
        scope=scope_of(kept.person, kept.projects, mixed=kept.mixed),
        person=kept.person,
        project=kept.projects[-1] if kept.projects else "",
        conversation=conversation,
        began_at=kept.began_at,
        ended_at=at,
        exchanges=kept.exchanges,
        documents=list(kept.documents),
        made_by="automatic",
        sources=made_from,
    )


def may_replace(written: SummaryBody | None, kept: Conversation) -> bool:
    """Tell whether a record may be written anew from a conversation (rule 4)."""
    if written is None or written.replaced_by:
        return True
    return written.made_by != "person" and written.exchanges < kept.exchanges


def state_from(written: SummaryBody) -> RecallItem:
    """Return the conversation as it goes on from its record; nothing from one that was replaced (rule 4)."""
    if written.replaced_by:
        return RecallItem()
    return RecallItem(
        summary=written.text,
        exchanges=written.exchanges,
        documents=list(written.documents),
        document_ids=[source.document for source in written.sources if source.document],
        projects=[written.project] if written.project else [],
        person=written.person,
        language=written.language,
        title=written.title,
        began_at=written.began_at,
        touched_at=written.ended_at,
        recalled=[key for source in written.sources for key in source.keys],
        kept_exchanges=written.exchanges,
        mixed=written.scope == "person" and not written.person,
    )
