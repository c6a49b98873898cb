"""Memory: what conversations leave behind, and the records that every core node keeps."""

from __future__ import annotations

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import AnswerId, Capability, ConversationId


class RememberRequest(msgspec.Struct, frozen=True):
    """Fold one exchange into the conversation's rolling summary; the texts are dropped afterwards."""

    conversation: ConversationId
    question: str
    answer: str
    documents: list[str] = []  # names of the documents that served as sources
    of: AnswerId = AnswerId("")  # an exchange that was resumed may be told twice, by two hosts: it counts once
    person: str = ""
    project: str = ""
    recalled: list[str] = []  # keys of the memories that the answer was given: never learned again from it


class RememberItem(msgspec.Struct, frozen=True):
    """The conversation's new state of summary."""

    summary: str
    exchanges: int


class RecallRequest(msgspec.Struct, frozen=True):
    """Ask for the rolling summary of a conversation."""

    conversation: ConversationId


class RecallItem(msgspec.Struct, frozen=True):
    """A conversation as it is remembered; `exchanges` is 0 for an unknown one."""

    summary: str = ""
    exchanges: int = 0
    documents: list[str] = []


class RecordsRequest(msgspec.Struct, frozen=True):
    """Ask for all records that the caller lacks: `have` maps each origin to its highest contiguous seq."""

    have: dict[str, int]
    limit: int = 5000


class Record(msgspec.Struct, frozen=True):
    """One immutable fact of memory.

    `origin` is the NodeId of its writer plus "." and its database epoch; `seq` counts from 1 per origin without gaps.
    `hlc` is a hybrid logical clock: 48 bit milliseconds, 16 bit counter. `sha` is SHA-256 over the record with
    `prev_sha`, the sha of (origin, seq - 1). `body` is msgpack whose shape `kind` and `version` name.
    """

    origin: str
    seq: int
    hlc: int
    kind: str
    key: str
    body: bytes
    prev_sha: bytes
    sha: bytes
    version: int = 1


class RecordsItem(msgspec.Struct, frozen=True):
    """A batch of records in (origin, seq) order; `more` says that the limit cut them off."""

    records: list[Record]
    more: bool = False


REMEMBER = CallSpec(Capability("remember"), RememberRequest, RememberItem, deadline_s=180)
RECALL = CallSpec(Capability("recall"), RecallRequest, RecallItem, deadline_s=5, hedge=True)
RECORDS = CallSpec(Capability("records"), RecordsRequest, RecordsItem, deadline_s=60)
