"""Writes the summaries of ended conversations down as records, and reads them when such a conversation goes on.

Rules
1. Nothing is written while `memory.automatic` is off, or the person has switched it off for itself.
   (Of a temporary chat nobody is told in the first place.)
2. A project takes only what its members told: a client may name any, and others would read that as the project's.
3. What the disk refuses is tried again at the next occasion: the conversation stays due.
"""

from __future__ import annotations

import logging
import secrets

import msgspec

from tarsd.calls import RecallItem, Who
from tarsd.memory import synthesis
from tarsd.memory.access import is_member
from tarsd.memory.bodies import SUMMARY, SummaryBody, summary_key
from tarsd.memory.conversations import Conversation
from tarsd.names import ConversationId
from tarsd.roles.base import Services

log = logging.getLogger(__name__)

SALT_BYTES = 16


class Synthesis:
    """The records of conversations."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def write(self, conversation: ConversationId, kept: Conversation) -> bool:
        """Write a conversation's summary down; say whether it is written now. Raises `StorageError`."""
        if not (self._services.config.memory.automatic and await self._services.store.automatic(kept.person)):
            return False
        if not await self._is_told_by_a_member(kept):
            kept = msgspec.structs.replace(kept, projects=(), mixed=True)
        written = await self._written(conversation, kept.person)
        if not synthesis.may_replace(written, kept):
            return True
        salt = written.salt if written is not None and written.salt else secrets.token_bytes(SALT_BYTES)
        record = await self._services.store.append(SUMMARY, "", synthesis.body_of(conversation, kept, salt))
        copies = await self._services.confirm([record])
        if copies.degraded:
            log.info("the summary of a conversation is on %d of %d nodes", copies.copies, copies.wanted)
        return True

    async def _is_told_by_a_member(self, kept: Conversation) -> bool:
        project = await self._services.store.project(kept.projects[-1]) if kept.projects else None
        return project is None or is_member(Who(kept.person), project)  # of an unknown one nobody else sees it

    async def read(self, conversation: ConversationId, person: str) -> RecallItem | None:
        """Return a conversation as it was written down; None where it was not. Raises `StorageError`."""
        written = await self._written(conversation, person)
        return None if written is None else synthesis.state_from(written)

    async def _written(self, conversation: ConversationId, person: str) -> SummaryBody | None:
        return await self._services.store.summary(summary_key(synthesis.identity_of(conversation, person)))
