"""Questions and the sessions they are asked in."""

from __future__ import annotations

import msgspec

from tarsd.calls.documents import Passage
from tarsd.calls.memories import Memory, Who
from tarsd.calls.memory import RecallItem
from tarsd.calls.spec import CallSpec
from tarsd.calls.text import Message
from tarsd.names import Capability, ConversationId, Route


class Turn(msgspec.Struct, frozen=True):
    """One exchange of the open chat; lives in the session only."""

    question: str
    answer: str


class PrepareRequest(msgspec.Struct, frozen=True):
    """Turn a question into messages ready for a model."""

    question: str
    conversation: ConversationId = ConversationId("")
    turns: list[Turn] = []  # recent turns of the open chat, oldest first
    language: str = ""  # of the person's page, where known; the question's own language wins
    context_tokens: int = 8192  # of the model that will answer
    max_tokens: int = 512  # to leave for the answer
    who: Who = Who()  # whose memories and profile may be used
    project: str = ""  # that the conversation belongs to
    temporary: bool = False  # nothing is written of this chat, and nothing remembered is used
    seed: RecallItem | None = None  # the conversation as the host knows it, should its holder have lost it


class PrepareItem(msgspec.Struct, frozen=True):
    """The route taken, the passages chosen as sources (numbered from 1 in the prompt) and the messages."""

    route: Route
    messages: list[Message]
    sources: list[Passage] = []
    language: str = "en"
    reasons: list[str] = []  # which rules decided, for people who ask why
    degraded: str = ""
    memories: list[Memory] = []  # what was remembered and given to the model, profile included


class PassRequest(msgspec.Struct, frozen=True):
    """Let in at the chat who holds one of these passes (SHA-256 each), for so many seconds: `tarsd.passes`."""

    digests: list[bytes]
    valid_s: float


class PassItem(msgspec.Struct, frozen=True):
    """They are let in."""


PREPARE = CallSpec(Capability("prepare"), PrepareRequest, PrepareItem, deadline_s=30, hedge=True)
PASS = CallSpec(Capability("pass"), PassRequest, PassItem, deadline_s=5)
