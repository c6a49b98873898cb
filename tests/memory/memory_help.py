from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from tarsd.memory.bodies import DocumentBody, PassageBody
from tarsd.memory.library import record_id
from tarsd.memory.store import Store
from tarsd.names import NodeId, RecordId

ANA = NodeId("a" * 32)
BOB = NodeId("b" * 32)
OpenStore = Callable[..., Awaitable[Store]]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def passage(text: str, *, document: str = "doc", page: int = 1, start: int = 0, language: str = "en") -> PassageBody:
    return PassageBody(sha(document), page, start, start + len(text), text, language)


async def add_document(store: Store, name: str, texts: list[str], language: str = "en") -> list[RecordId]:
    """Write a document with one passage a page; return the names of its passages."""
    bodies = [passage(text, document=name, page=number, language=language) for number, text in enumerate(texts, 1)]
    records = await store.append_many([("passage", "", body) for body in bodies])
    whole = DocumentBody(sha(name), f"{name}.pdf", 100, len(texts), language, 1.0, len(texts))
    await store.append("document", "", whole)
    return [record_id(record.origin, record.seq) for record in records]
