"""Each capability that nodes offer one another: its name, its request and its items.

A call has one request and yields zero or more items; a capability that returns one thing yields one item.
Structs are additive: a new field has a default, so that old and new nodes understand each other.
Places in a document: `page` counts from 1 (0 where the format has no pages), `start` and `end` are character
offsets into the text of that page (of the whole file where there are no pages).
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from tarsd.names import AnswerId, Capability, ConversationId, NodeId, NodeName, Route, TraceId, Zone

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ItemT = TypeVar("ItemT", bound=msgspec.Struct)


class CallSpec(msgspec.Struct, Generic[RequestT, ItemT], frozen=True):
    """What a capability is called, what it takes and yields, and who may call it.

    `zones`: the zones whose nodes may call it; enforced at the callee.
    `deadline_s`: the time a caller gives by default.
    `uploads`: the request is followed by raw bytes.
    `hedge`: it has no effects and a person waits for it, so a second node may be asked when the first one is overdue.
    """

    name: Capability
    request: type[RequestT]
    item: type[ItemT]
    deadline_s: float
    zones: frozenset[Zone] = frozenset({Zone.CORE})
    uploads: bool = False
    hedge: bool = False


class Headers(msgspec.Struct, frozen=True):
    """What travels with each call beside its request."""

    deadline_s: float  # time left, relative, so that no clocks are compared
    hops: int  # 1 from a client, 0 after a forward
    trace: TraceId


# --- text -------------------------------------------------------------------------------------------------------


class Message(msgspec.Struct, frozen=True):
    """One message of a chat, as models take them."""

    role: Literal["system", "user", "assistant"]
    content: str


class Usage(msgspec.Struct, frozen=True):
    """What an answer cost, in the model's tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatRequest(msgspec.Struct, frozen=True):
    """Ask for an answer of the assistant to `messages`.

    `partial`: the beginning of the answer that a reader has already seen; the engine continues it, it is not repeated.
    `answer`: which answer it is; a newer request for the same one ends the older.
    """

    messages: list[Message]
    partial: str = ""
    model: str = ""  # "" is the node's default
    max_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.95
    repeat_penalty: float = 1.0  # above 1 keeps small models from looping; engines that do not know it leave it out
    seed: int | None = None
    stop: list[str] = []
    conversation: ConversationId = ConversationId("")
    background: bool = False  # summaries and nightly work, which wait for people
    answer: AnswerId = AnswerId("")


class ChatItem(msgspec.Struct, frozen=True):
    """A piece of an answer: text, or (last) why it ended."""

    text: str = ""
    finish_reason: Literal["", "stop", "length"] = ""
    usage: Usage | None = None  # with the last item
    engine: str = ""  # with the first item: which engine and model generate
    model: str = ""
    queue_position: int = 0  # while waiting: how many are before this one


class SummarizeRequest(msgspec.Struct, frozen=True):
    """Ask for a summary of `text`, in the language it is written in, of at most `max_words` words."""

    text: str
    max_words: int = 80


class SummarizeItem(msgspec.Struct, frozen=True):
    """The summary and how it came about: by a `model`, or `extractive` where no engine could."""

    text: str
    method: Literal["model", "extractive"] = "model"


# --- conversations ----------------------------------------------------------------------------------------------


class RememberRequest(msgspec.Struct, frozen=True):
    """Fold one exchange into the conversation's rolling summary; the texts are dropped afterwards."""

    conversation: ConversationId
    question: str
    answer: str
    documents: list[str] = []  # names of the documents that served as sources
    of: AnswerId = AnswerId("")  # an exchange that was resumed may be told twice, by two hosts: it counts once


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


# --- documents and search ---------------------------------------------------------------------------------------


class EmbedRequest(msgspec.Struct, frozen=True):
    """Ask for vectors of `texts` (at most 256)."""

    texts: list[str]
    purpose: Literal["query", "passage"] = "passage"


class EmbedItem(msgspec.Struct, frozen=True):
    """Vectors in the order of the texts: float32, little-endian, L2-normalised, `dimension` numbers each."""

    vectors: list[bytes]
    model: str
    dimension: int


class SearchRequest(msgspec.Struct, frozen=True):
    """Ask for the passages that serve a question best."""

    query: str
    limit: int = 6
    language: str = ""  # ISO 639-1 of the query where known


class Passage(msgspec.Struct, frozen=True):
    """A chunk of a document, with its place."""

    id: str  # RecordId of the passage
    document: str  # SHA-256 of the document, hex
    file: str  # the document's file name
    page: int
    start: int
    end: int
    text: str
    language: str = ""


class Hit(msgspec.Struct, frozen=True):
    """A passage found, with its fused score (higher is better, comparable within one answer only)."""

    passage: Passage
    score: float
    found_by: list[str] = []  # "keywords", "vectors"


class SearchItem(msgspec.Struct, frozen=True):
    """All hits, best first; `degraded` says what could not be used (such as "vectors: worker is loading")."""

    hits: list[Hit]
    degraded: str = ""


class IngestRequest(msgspec.Struct, frozen=True):
    """Take in a document whose bytes follow as an upload; `size_bytes` and `sha256` are checked against them."""

    file: str
    size_bytes: int
    sha256: str
    language: str = ""  # ISO 639-1 where the person knows it; "" = find out
    wait: bool = True  # stream progress until done; False: return once the document is safe on disk


class IngestItem(msgspec.Struct, frozen=True):
    """Progress of one ingest job; the last item has stage done, duplicate or failed."""

    job: str
    file: str
    stage: Literal["queued", "parsing", "embedding", "done", "duplicate", "failed"]
    done: int = 0  # pages parsed or passages embedded
    total: int = 0
    document: str = ""
    passages: int = 0
    reason: str = ""  # of a failure; while queued: what it waits for; once done: which pages could not be read


class JobsRequest(msgspec.Struct, frozen=True):
    """Ask for the ingest jobs, newest first; with `job`, follow that one until it ends."""

    job: str = ""
    limit: int = 50


# --- questions --------------------------------------------------------------------------------------------------


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


class PrepareItem(msgspec.Struct, frozen=True):
    """The route taken, the passages chosen as sources (numbered from 1 in the prompt) and the messages."""

    route: Route
    messages: list[Message]
    sources: list[Passage] = []
    language: str = "en"
    reasons: list[str] = []  # which rules decided, for people who ask why
    degraded: str = ""


# --- records ----------------------------------------------------------------------------------------------------


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


# --- watching ---------------------------------------------------------------------------------------------------


class StatusRequest(msgspec.Struct, frozen=True):
    """Ask a node how it is."""


class StatusItem(msgspec.Struct, frozen=True):
    """A node's own account of itself; `parts` has one entry per part of the daemon, as plain data."""

    node: NodeId
    name: NodeName
    version: str
    roles: list[str]
    uptime_s: float
    healthy: bool
    problems: list[str]
    parts: dict[str, Any]


class NightlyRequest(msgspec.Struct, frozen=True):
    """Run this node's nightly jobs, all or the named ones; `only_due` leaves out what ran since the last night."""

    jobs: list[str] = []
    only_due: bool = False


class NightlyItem(msgspec.Struct, frozen=True):
    """How one nightly job went."""

    job: str
    ok: bool
    changed: int
    detail: str
    seconds: float


# --- people's sessions ------------------------------------------------------------------------------------------


class PassRequest(msgspec.Struct, frozen=True):
    """Let in at the chat who holds one of these passes (SHA-256 each), for so many seconds: `tarsd.passes`."""

    digests: list[bytes]
    valid_s: float


class PassItem(msgspec.Struct, frozen=True):
    """They are let in."""


# --- trust ------------------------------------------------------------------------------------------------------


class TrustRequest(msgspec.Struct, frozen=True):
    """Take notices of the core authority (who is revoked); while authorities are replaced, the next step of that.

    `authorities`: zone to certificate and key (PEM), for core nodes only. `use`: sign with this generation from now on,
    and have your own certificate renewed by it. `who`: tell whose certificates you have seen.
    """

    notices: list[bytes] = []
    authorities: dict[Zone, tuple[bytes, bytes]] = {}
    use: int = 0
    who: bool = False


class TrustItem(msgspec.Struct, frozen=True):
    """What the callee knows now: the digest of its notices, who signed its certificate, which authorities it holds.

    `certified`, where `who` was asked: the zone of each node whose certificate it ever saw, in this boot or before.
    """

    digest: bytes
    issuer: int
    installed: int = 0
    has_root: bool = False
    certified: dict[NodeId, Zone] = {}


class RenewRequest(msgspec.Struct, frozen=True):
    """Ask for a new certificate: a signing request (PEM) by the key that the caller proved in its handshake."""

    request: bytes


class RenewItem(msgspec.Struct, frozen=True):
    """The new certificate, followed by its authority's (PEM)."""

    chain: bytes


class AuthoritiesRequest(msgspec.Struct, frozen=True):
    """Ask for the authorities in use: by a core node that was off while they were replaced."""


class AuthoritiesItem(msgspec.Struct, frozen=True):
    """Zone to certificate and key (PEM)."""

    authorities: dict[Zone, tuple[bytes, bytes]]


# --- the capabilities -------------------------------------------------------------------------------------------

CHAT = CallSpec(Capability("chat"), ChatRequest, ChatItem, deadline_s=600, hedge=True)
SUMMARIZE = CallSpec(Capability("summarize"), SummarizeRequest, SummarizeItem, deadline_s=120)
REMEMBER = CallSpec(Capability("remember"), RememberRequest, RememberItem, deadline_s=180)
RECALL = CallSpec(Capability("recall"), RecallRequest, RecallItem, deadline_s=5, hedge=True)
EMBED = CallSpec(Capability("embed"), EmbedRequest, EmbedItem, deadline_s=60, hedge=True)
SEARCH = CallSpec(Capability("search"), SearchRequest, SearchItem, deadline_s=10, hedge=True)
INGEST = CallSpec(Capability("ingest"), IngestRequest, IngestItem, deadline_s=24 * 3600, uploads=True)
JOBS = CallSpec(Capability("jobs"), JobsRequest, IngestItem, deadline_s=24 * 3600)
PREPARE = CallSpec(Capability("prepare"), PrepareRequest, PrepareItem, deadline_s=30, hedge=True)
RECORDS = CallSpec(Capability("records"), RecordsRequest, RecordsItem, deadline_s=60)
STATUS = CallSpec(Capability("status"), StatusRequest, StatusItem, deadline_s=5)
NIGHTLY = CallSpec(Capability("nightly"), NightlyRequest, NightlyItem, deadline_s=3600)
TRUST = CallSpec(Capability("trust"), TrustRequest, TrustItem, deadline_s=10)
# The only thing that a lab node may call: it cannot renew its certificate by itself.
RENEW = CallSpec(Capability("renew"), RenewRequest, RenewItem, deadline_s=10, zones=frozenset(Zone))
AUTHORITIES = CallSpec(Capability("authorities"), AuthoritiesRequest, AuthoritiesItem, deadline_s=10)
PASS = CallSpec(Capability("pass"), PassRequest, PassItem, deadline_s=5)

ALL: dict[Capability, CallSpec[Any, Any]] = {
    spec.name: spec
    for spec in (
        CHAT,
        SUMMARIZE,
        REMEMBER,
        RECALL,
        EMBED,
        SEARCH,
        INGEST,
        JOBS,
        PREPARE,
        RECORDS,
        STATUS,
        NIGHTLY,
        PASS,
        TRUST,
        RENEW,
        AUTHORITIES,
    )
}
