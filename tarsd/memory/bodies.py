"""What the bodies of records hold, by kind, and the key that each kind has.

Structs are additive: a new field has a default. A body whose kind is unknown is kept and passed on unread.
Short personal texts get a random `salt`, so that the digest that remains after forgetting cannot be guessed back.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tarsd.errors import WireError
from tarsd.wire import decode

DOCUMENT = "document"
PASSAGE = "passage"
SUMMARY = "summary"
TOMBSTONE = "tombstone"

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


class TombstoneBody(msgspec.Struct, frozen=True):
    """That a key and all below it are forgotten; never says what was there."""

    forgotten_at: Time = 0.0


Body = DocumentBody | PassageBody | SummaryBody | TombstoneBody
KINDS: dict[str, type[Body]] = {
    DOCUMENT: DocumentBody,
    PASSAGE: PassageBody,
    SUMMARY: SummaryBody,
    TOMBSTONE: TombstoneBody,
}


def document_key(sha256: str) -> str:
    """Return the key of a document; those of its passages lie below it."""
    return f"document/{sha256}"


def summary_key(identity: str) -> str:
    """Return the key of a summary."""
    return f"summary/{identity}"


def key_of(body: Body) -> str:
    """Return the key that a body dictates, "" for a tombstone, which lies at the key that it forgets."""
    match body:
        case DocumentBody():
            return document_key(body.sha256)
        case PassageBody():
            return f"{document_key(body.document)}/{body.page}/{body.start}-{body.end}"
        case SummaryBody():
            return summary_key(body.id)
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
