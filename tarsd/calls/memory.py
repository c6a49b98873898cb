"""Memory: what conversations leave behind, and the records that every core node keeps."""

from __future__ import annotations

import msgspec

from tarsd.calls.memories import Who
from tarsd.calls.spec import CallSpec
from tarsd.names import AnswerId, Capability, ConversationId, NodeId, NodeName


class RecallItem(msgspec.Struct, frozen=True):
    """A conversation as it is remembered, whole enough to go on with it elsewhere; `exchanges` is 0 for an unknown one.

    Times are seconds since 1970 by the holder's clock. `answers` are those that counted last: they count once.
    """

    summary: str = ""
    exchanges: int = 0
    documents: list[str] = []  # names, latest last
    document_ids: list[str] = []  # their SHA-256, hex, where it was known
    projects: list[str] = []
    person: str = ""
    language: str = ""
    title: str = ""
    began_at: float = 0.0
    touched_at: float = 0.0
    answers: list[AnswerId] = []
    recalled: list[str] = []  # keys of the memories that its answers were given
    kept_exchanges: int = 0  # how many of its exchanges are in the summary that was written down
    mixed: bool = False  # told in a project and outside of it: its person's alone


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
    document_ids: list[str] = []  # SHA-256, hex, of those documents
    seed: RecallItem | None = None  # as the host knows it, for a holder that took over from another or lost it


class RememberItem(msgspec.Struct, frozen=True):
    """The conversation's new state of summary; `state` is all of it, None from an older node."""

    summary: str
    exchanges: int
    state: RecallItem | None = None


class RecallRequest(msgspec.Struct, frozen=True):
    """Ask for the rolling summary of a conversation, which is the person's own: nobody else's has that id."""

    conversation: ConversationId
    person: str = ""
    seed: RecallItem | None = None  # see `RememberRequest`


class ConversationsRequest(msgspec.Struct, frozen=True):
    """Ask for the conversations that are remembered; with `everywhere` on all nodes, else only on the one asked."""

    who: Who = Who()
    everywhere: bool = True


class ConversationView(msgspec.Struct, frozen=True):
    """A conversation as people see it; times are seconds since 1970."""

    id: ConversationId
    title: str
    summary: str
    exchanges: int
    began_at: float
    touched_at: float
    documents: list[str] = []
    projects: list[str] = []
    person: str = ""


class ConversationsItem(msgspec.Struct, frozen=True):
    """Those that this person may see, the one touched last first; `degraded` names nodes that did not answer."""

    conversations: list[ConversationView]
    degraded: str = ""


class RecordsRequest(msgspec.Struct, frozen=True):
    """Ask for all records that the caller lacks: `have` maps each origin to its highest contiguous seq.

    `seals` are the seals of those records: who serves knows then that the caller has the same ones. `only` asks for
    one origin's.
    """

    have: dict[str, int]
    limit: int = 5000
    seals: dict[str, bytes] = {}
    only: str = ""


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
    """A batch of records in (origin, seq) order; `more` says that the limit cut them off.

    `total` is how many records the callee has in all: how far a new node has come.
    """

    records: list[Record]
    more: bool = False
    total: int = 0


class PushRequest(msgspec.Struct, frozen=True):
    """Give records to a node at once; without records it is a greeting.

    `heads` says how far the caller has each origin on its disk: the seq and the seal of the last record without gaps.
    """

    records: list[Record] = []
    heads: dict[str, tuple[int, bytes]] = {}


class Refused(msgspec.Struct, frozen=True):
    """A record that was not taken in, and why."""

    origin: str
    seq: int
    reason: str


class PushItem(msgspec.Struct, frozen=True):
    """What was given is on disk up to `heads`, which are the callee's own; `refused` never will be."""

    heads: dict[str, tuple[int, bytes]]
    refused: list[Refused] = []


class MemoryStatusRequest(msgspec.Struct, frozen=True):
    """Ask a node how its copy of the records stands, and what it knows of the others'."""


class CopyStanding(msgspec.Struct, frozen=True):
    """What another node lacks of the records of the one that tells; `behind` -1: it never said what it has."""

    node: NodeId
    name: NodeName
    state: str
    behind: int
    behind_s: float = 0.0  # the age of the oldest record that it lacks


class MemoryStatusItem(msgspec.Struct, frozen=True):
    """How a node's copy of the records stands.

    `single`: records that nobody else is known to have, the oldest written at `single_at` (seconds since 1970).
    `refused` says why records are in quarantine. `disk_bytes`: database, wal, vectors, backups, damaged (moved aside).
    `clock_ahead_s`: origins whose last record carries a time over a minute in the future. `syncing`: for each node
    that records come from now, how many are here (`records`) of how many (`of`). `branches`: origins that two nodes
    wrote at a time (a clone, or a disk that was set back), under the name that the second branch was given.
    """

    node: NodeId
    name: NodeName
    records: int
    copies_wanted: int
    others: list[CopyStanding]
    single: int
    single_at: float
    waiting: int
    quarantined: int
    refused: list[str]
    disk_bytes: dict[str, int]
    disk_free_bytes: int
    clock_ahead_s: dict[str, float]
    syncing: dict[str, dict[str, int]]
    branches: list[str] = []


REMEMBER = CallSpec(Capability("remember"), RememberRequest, RememberItem, deadline_s=180)
RECALL = CallSpec(Capability("recall"), RecallRequest, RecallItem, deadline_s=5, hedge=True)
CONVERSATIONS = CallSpec(Capability("conversations"), ConversationsRequest, ConversationsItem, deadline_s=10)
RECORDS = CallSpec(Capability("records"), RecordsRequest, RecordsItem, deadline_s=60)
PUSH = CallSpec(Capability("push"), PushRequest, PushItem, deadline_s=20)
MEMORY_STATUS = CallSpec(Capability("memory_status"), MemoryStatusRequest, MemoryStatusItem, deadline_s=10)
