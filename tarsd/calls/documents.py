"""Documents and search: taking files in, vectors of texts, passages that serve a question.

Places in a document: `page` counts from 1 (0 where the format has no pages), `start` and `end` are character
offsets into the text of that page (of the whole file where there are no pages).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import Capability


class EmbedRequest(msgspec.Struct, frozen=True):
    """Ask for vectors of `texts` (at most 256)."""

    texts: list[str]
    purpose: Literal["query", "passage"] = "passage"


class EmbedItem(msgspec.Struct, frozen=True):
    """Vectors in the order of the texts: float32, little-endian, L2-normalised, `dimension` numbers each.

    `tokens`: of all texts together, in the model's own pieces; 0 = not counted.
    """

    vectors: list[bytes]
    model: str
    dimension: int
    tokens: int = 0


class SearchRequest(msgspec.Struct, frozen=True):
    """Ask for the passages that serve a question best."""

    query: str
    limit: int = 6
    language: str = ""  # ISO 639-1 of the query where known
    temporary: bool = False  # the query stays in no cache


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


class SearchMemoriesRequest(msgspec.Struct, frozen=True):
    """Ask for the current memories and summaries that serve a question best, whoever may see them."""

    query: str
    limit: int = 20
    language: str = ""  # ISO 639-1 of the query where known
    temporary: bool = False  # the query stays in no cache


class SearchMemoriesItem(msgspec.Struct, frozen=True):
    """Keys with their fused scores, best first; `degraded` says what could not be used.

    `near`: those of them whose meaning is so near that they may answer a question which shares no word with them.
    """

    found: list[tuple[str, float]]
    degraded: str = ""
    near: list[str] = []


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


EMBED = CallSpec(Capability("embed"), EmbedRequest, EmbedItem, deadline_s=60, hedge=True)
SEARCH = CallSpec(Capability("search"), SearchRequest, SearchItem, deadline_s=10, hedge=True)
SEARCH_MEMORIES = CallSpec(
    Capability("search_memories"), SearchMemoriesRequest, SearchMemoriesItem, deadline_s=10, hedge=True
)
INGEST = CallSpec(Capability("ingest"), IngestRequest, IngestItem, deadline_s=24 * 3600, uploads=True)
JOBS = CallSpec(Capability("jobs"), JobsRequest, IngestItem, deadline_s=24 * 3600)
