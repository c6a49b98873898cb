"""What the bodies of records hold, by kind, and the key that each kind has.

Structs are additive: a new field has a default. A body whose kind is unknown is kept and passed on unread.
Short personal texts get a random `salt`, so that the digest that remains after forgetting cannot be guessed back.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tarsd.errors import WireError
from tarsd.wire import decode

DOCUMENT = "document"
PASSAGE = "passage"
SUMMARY = "summary"
MEMORY = "memory"
PROJECT = "project"
DIARY = "diary"
SETTING = "setting"
TOMBSTONE = "tombstone"
RECEIPT = "receipt"
RECEIPT_PART = "receipt_part"
OBEYED = "obeyed"

# What SQLite stores and JSON carries exactly; a larger number in a record is not ours.
_MAX_COUNT = 2**53
Count = Annotated[int, Meta(ge=0, le=_MAX_COUNT)]
Time = Annotated[float, Meta(ge=0, le=1e12)]  # seconds since 1970
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Language = Annotated[str, Meta(pattern="^([a-z]{2,3})?$")]  # ISO 639, "" where it is not known
Id = Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,128}$")]


class DocumentBody(msgspec.Struct, frozen=True):
    """A document that was taken in whole; written after its passages, so it makes them searchable at once."""

    sha256: Sha256
    file: str
    size_bytes: Count = 0
    pages: Count = 0
    language: Language = ""
    added_at: Time = 0.0
    passages: Count = 0


class PassageBody(msgspec.Struct, frozen=True):
    """A chunk of a document; `page`, `start` and `end` as in `calls`."""

    document: Sha256
    page: Count
    start: Count
    end: Count
    text: str
    language: Language = ""


Person = Annotated[str, Meta(max_length=64)]  # the name in a token, "" = whoever sits at a PC of the household
Scope = Literal["person", "project", "household"]  # who may see it
Sort = Literal["fact", "instruction", "preference"]  # the latter two are the profile, which is always in the prompt
MadeBy = Literal["person", "automatic", "nightly", "import"]


class Source(msgspec.Struct, frozen=True):
    """What a memory was learned from: an exchange of a conversation, a document, or other memories (their keys)."""

    conversation: str = ""
    answer: str = ""
    at: Time = 0.0
    document: str = ""  # SHA-256, hex
    keys: list[str] = []  # of the records that it was made from


class SummaryBody(msgspec.Struct, frozen=True):
    """What is remembered of a project or a long conversation."""

    id: Id
    title: str
    text: str
    dates: list[str] = []  # ISO 8601 dates that it speaks of
    tags: list[str] = []
    keywords: list[str] = []
    language: Language = ""
    salt: bytes = b""
    scope: Scope = "household"
    person: Person = ""
    project: str = ""  # its id, "" = none
    conversation: str = ""
    began_at: Time = 0.0
    ended_at: Time = 0.0
    exchanges: Count = 0
    documents: list[str] = []  # names of files that it leans on
    made_by: MadeBy = "automatic"
    sources: list[Source] = []
    replaced_by: str = ""  # the key of what took its place: it is shown as history only


class MemoryBody(msgspec.Struct, frozen=True):
    """One thing that is remembered: "Ana's birthday is 4 May", "answer briefly".

    `valid_from` and `valid_until` say when it is true (0 = not known, no end), `made_at` when it was learned.
    A memory that was merged, or that a later one contradicts, is kept with `replaced_by` and `replaced_why`.
    """

    id: Id
    text: str
    sort: Sort = "fact"
    scope: Scope = "household"
    person: Person = ""
    project: str = ""
    language: Language = ""
    tags: list[str] = []
    keywords: list[str] = []
    dates: list[str] = []
    valid_from: Time = 0.0
    valid_until: Time = 0.0
    made_at: Time = 0.0
    made_by: MadeBy = "person"
    sources: list[Source] = []
    replaced_by: str = ""  # the key of what took its place
    replaced_why: Literal["", "merged", "contradicted"] = ""
    salt: bytes = b""


class ProjectBody(msgspec.Struct, frozen=True):
    """Something that conversations and memories belong to; `members` are persons, empty = the whole household."""

    id: Id
    name: str
    text: str = ""  # what it is about
    members: list[Person] = []
    tags: list[str] = []
    keywords: list[str] = []
    began_at: Time = 0.0
    ended_at: Time = 0.0  # 0 = it goes on
    person: Person = ""
    salt: bytes = b""


class DiaryChange(msgspec.Struct, frozen=True):
    """One key that a job wrote: the records (`RecordId`) visible before and after it, "" for none."""

    key: str
    before: str = ""
    after: str = ""


class DiaryBody(msgspec.Struct, frozen=True):
    """What one job changed in one night, and how to undo it. It quotes no memory: what is forgotten stays nowhere."""

    id: Id
    job: str
    node: str  # its name
    began_at: Time = 0.0
    ended_at: Time = 0.0
    ok: bool = True
    what: str = ""  # a sentence, such as "3 memories merged into 1"
    changes: list[DiaryChange] = []
    undone_at: Time = 0.0


class SettingBody(msgspec.Struct, frozen=True):
    """Something that a person settled for itself, such as `automatic`: TARS may learn about it by itself."""

    name: Id
    person: Person = ""
    value: bool = True


class TombstoneBody(msgspec.Struct, frozen=True):
    """That a key and all below it are forgotten; never says what was there."""

    forgotten_at: Time = 0.0


class ReceiptBody(msgspec.Struct, frozen=True):
    """What was forgotten at once, by keys; its tombstones stand before it in the same chain.

    `nodes`: the core nodes that were known then, names by id: each is to say that it obeyed (`ObeyedBody`). Further
    keys are in `parts` parts, which stand before it too. `person` forgot it (None: an administrator, or an older
    version did), and is shown all of it; `persons`, or `everybody`, could see what lay at the keys.
    """

    id: Id
    keys: list[str]
    nodes: dict[str, str] = {}
    at: Time = 0.0
    parts: Count = 0
    person: Person | None = None
    persons: list[Person] = []
    everybody: bool = False


class ReceiptPartBody(msgspec.Struct, frozen=True):
    """Further keys of a receipt, and who could see what lay there."""

    receipt: Id
    number: Count  # from 1
    keys: list[str]
    persons: list[Person] = []
    everybody: bool = False


class ObeyedBody(msgspec.Struct, frozen=True):
    """That one node holds nothing any more of what a receipt names, and what it removed. Written by that node."""

    receipt: Id
    node: Id  # its id
    name: str
    records: Count = 0
    vectors: Count = 0
    keywords: Count = 0
    cached: Count = 0
    conversations: Count = 0
    backups: list[str] = []
    damaged_copies: list[str] = []
    at: Time = 0.0


Body = (
    DocumentBody
    | PassageBody
    | SummaryBody
    | MemoryBody
    | ProjectBody
    | DiaryBody
    | SettingBody
    | TombstoneBody
    | ReceiptBody
    | ReceiptPartBody
    | ObeyedBody
)
KINDS: dict[str, type[Body]] = {
    DOCUMENT: DocumentBody,
    PASSAGE: PassageBody,
    SUMMARY: SummaryBody,
    MEMORY: MemoryBody,
    PROJECT: ProjectBody,
    DIARY: DiaryBody,
    SETTING: SettingBody,
    TOMBSTONE: TombstoneBody,
    RECEIPT: ReceiptBody,
    RECEIPT_PART: ReceiptPartBody,
    OBEYED: ObeyedBody,
}


def document_key(sha256: str) -> str:
    """Return the key of a document; those of its passages lie below it."""
    return f"document/{sha256}"


def summary_key(identity: str) -> str:
    """Return the key of a summary."""
    return f"summary/{identity}"


def memory_key(identity: str) -> str:
    """Return the key of a memory."""
    return f"memory/{identity}"


def project_key(identity: str) -> str:
    """Return the key of a project; what belongs to it lies elsewhere and names it."""
    return f"project/{identity}"


def diary_key(identity: str) -> str:
    """Return the key of an entry of the diary."""
    return f"diary/{identity}"


def setting_key(name: str, person: str) -> str:
    """Return the key of a setting; "-" is no name of a person, and stands for "" there."""
    return f"setting/{name}/{person or '-'}"


def conversation_key(identity: str, person: str | None = None) -> str:
    """Return the key at which a conversation is forgotten, a person's or (None) whosever; only tombstones lie there."""
    return f"conversation/{identity}" if person is None else f"conversation/{identity}/{person or '-'}"


def receipt_key(identity: str) -> str:
    """Return the key of a receipt; what each node says of it lies below."""
    return f"receipt/{identity}"


def key_of(body: Body) -> str:
    """Return the key that a body dictates, "" for a tombstone, which lies at the key that it forgets."""
    match body:
        case DocumentBody():
            return document_key(body.sha256)
        case PassageBody():
            return f"{document_key(body.document)}/{body.page}/{body.start}-{body.end}"
        case SummaryBody():
            return summary_key(body.id)
        case MemoryBody():
            return memory_key(body.id)
        case ProjectBody():
            return project_key(body.id)
        case DiaryBody():
            return diary_key(body.id)
        case SettingBody():
            return setting_key(body.name, body.person)
        case ReceiptBody():
            return receipt_key(body.id)
        case ReceiptPartBody():
            return f"{receipt_key(body.receipt)}/part-{body.number}"
        case ObeyedBody():
            return f"{receipt_key(body.receipt)}/{body.node}"
        case TombstoneBody():
            return ""


def read(kind: str, key: str, body: bytes) -> Body | None:
    """Return the body as its kind's struct, None for an unknown kind.

    Raises `WireError` when the bytes are not what the kind says or belong to another key.
    """
    shape = KINDS.get(kind)
    if shape is None:
        return None
    content = decode(body, shape)
    wanted = key_of(content)
    if wanted and wanted != key:
        raise WireError(f"{kind}: the key should be {wanted}")
    return content


def is_readable(kind: str, key: str, body: bytes) -> bool:
    """Say whether `read` would take it."""
    try:
        read(kind, key, body)
    except WireError:
        return False
    return True
