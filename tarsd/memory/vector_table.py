"""What the database keeps of vectors, and which texts still lack one.

Rules
1. Passages, summaries and memories have vectors; what was replaced has none (it is history, and written anew so).
2. A vector is kept for what is visible only: embedding that ends after forgetting brings nothing back.
3. A place in the index is the record's local id; summaries and memories lie `RECOLLECTIONS` above the passages, so that
   either sort is searched by itself, and a few memories do not drown among many passages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import NamedTuple

import msgspec

from tarsd.errors import InvalidInput
from tarsd.memory import bodies, derive
from tarsd.memory.database import Database, Row, uninterrupted
from tarsd.memory.schema import SEARCHED
from tarsd.names import RecordId

FLOAT_BYTES = 4
RECOLLECTIONS = 1 << 40
_BATCH = 500
_FOLDER = "embedding folder of "  # in `meta`: where a model was loaded from

_CURRENT = {"passages": "1", "summaries": "is_current", "memories": "is_current"}
# What may have a vector. The few first, since people wait for them: a memory is found at once after it was told.
_WANTED = " UNION ALL ".join(f"SELECT id FROM {table} WHERE {_CURRENT[table]}" for table in reversed(SEARCHED))  # noqa: S608
_IS_WANTED = f"EXISTS (SELECT 1 FROM ({_WANTED}) AS wanted WHERE wanted.id = log.id)"  # noqa: S608
_PLACE = f"""vectors.id + CASE WHEN EXISTS (SELECT 1 FROM passages WHERE passages.id = vectors.id) THEN 0
             ELSE {RECOLLECTIONS} END"""  # noqa: S608


class VectorBatch(NamedTuple):
    """Vectors with their places in the index; `last` is where the next batch goes on."""

    last: int
    vectors: list[tuple[int, bytes]]


class Change(msgspec.Struct, frozen=True):
    """What a commit changed: local ids now visible, local ids gone, the model whose vectors were put.

    `texts`: something that searches find came or went (not so for the diary).
    """

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    model: str = ""
    texts: bool = True


class Text(NamedTuple):
    """A text that a model has not embedded yet."""

    local: int
    name: RecordId
    text: str


class Coverage(NamedTuple):
    """How many of the texts have a vector of a model."""

    embedded: int
    texts: int

    def reaches(self, share: float) -> bool:
        """Tell whether that share of the texts is embedded."""
        return self.embedded >= share * self.texts


class Recollection(NamedTuple):
    """A current memory or summary that was found."""

    key: str
    language: str


def record_id(origin: str, seq: int) -> RecordId:
    """Return the name of a record."""
    return RecordId(f"{origin}:{seq}")


def split(identity: str) -> tuple[str, int]:
    """Return origin and seq of a record's name, ("", 0) for what is none."""
    origin, _, seq = identity.rpartition(":")
    return (origin, int(seq)) if seq.isascii() and seq.isdigit() and len(seq) < 19 else ("", 0)


def json_list(values: Iterable[int | str]) -> str:
    """Return values as the parameter of `json_each`."""
    return msgspec.json.encode(list(values)).decode()


def places_of(local_ids: Iterable[int]) -> list[int]:
    """Return the places where records may lie that are gone."""
    return [place for local in local_ids for place in (local, local + RECOLLECTIONS)]


class VectorTable:
    """Vectors by model. Every method raises `StorageError` when the disk or database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _notify(self, change: Change) -> None:
        """Tell the listeners; the store does."""
        raise NotImplementedError

    async def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        async with self._database.reading():
            return await self._database.rows(sql, parameters)

    async def _number(self, sql: str, parameters: Sequence[object] = ()) -> int:
        return int((await self._rows(sql, parameters))[0][0])

    # --- what lacks a vector ----------------------------------------------------------------------------------

    async def texts_without_vectors(self, model: str, limit: int, after: int = 0) -> list[Text]:
        """Return texts that a model has not embedded yet, memories first, then oldest first; of ids above `after`."""
        found: list[Text] = []
        for table in reversed(SEARCHED):
            rows = await self._rows(
                f"""SELECT log.id, origin, seq, kind, key, body FROM {table} JOIN log USING (id)
                    WHERE {table}.id > ?2 AND {_CURRENT[table]}
                    AND NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.id = {table}.id AND model = ?1)
                    ORDER BY {table}.id LIMIT ?3""",  # noqa: S608
                (model, after, limit - len(found)),
            )
            found += [_to_text(row) for row in rows]
            if len(found) >= limit:
                break
        return found

    async def texts(self, names: Sequence[RecordId]) -> list[Text]:
        """Return the texts of these records, in their order, without those that have none or are gone."""
        found: list[Text] = []
        for origin, seq in map(split, names):
            rows = await self._rows(
                f"SELECT id, origin, seq, kind, key, body FROM log WHERE origin = ? AND seq = ? AND {_IS_WANTED}",  # noqa: S608
                (origin, seq),
            )
            found += [_to_text(row) for row in rows]
        return found

    async def coverage(self, model: str) -> Coverage:
        """Return how far a model has come."""
        embedded = await self._number("SELECT COUNT(*) FROM vectors WHERE model = ?", (model,))
        return Coverage(embedded, await self._number(f"SELECT COUNT(*) FROM ({_WANTED})"))  # noqa: S608

    # --- vectors ----------------------------------------------------------------------------------------------

    async def put_vectors(self, model: str, vectors: Sequence[tuple[RecordId, bytes]]) -> int:
        """Keep vectors (as `calls.EmbedItem` gives them) of records; return how many were of visible ones (rule 2).

        Raises `InvalidInput` when one is not of the model's dimension.
        """
        return await uninterrupted(self._put_vectors(model, vectors))

    async def _put_vectors(self, model: str, vectors: Sequence[tuple[RecordId, bytes]]) -> int:
        put = 0
        for first in range(0, len(vectors), _BATCH):
            batch = vectors[first : first + _BATCH]
            async with self._database.writing():
                await self._check_dimension(model, batch)
                before = self._database.changes
                await self._database.run_many(
                    f"""INSERT OR REPLACE INTO vectors (id, model, vector)
                        SELECT log.id, ?3, ?4 FROM log WHERE origin = ?1 AND seq = ?2 AND {_IS_WANTED}""",  # noqa: S608
                    [(*split(identity), model, vector) for identity, vector in batch],
                )
                put += self._database.changes - before
            self._notify(Change(model=model, texts=False))
        return put

    async def _check_dimension(self, model: str, batch: Sequence[tuple[RecordId, bytes]]) -> None:
        known = await self._database.value("SELECT dimension FROM models WHERE model = ?", (model,))
        dimension = known or len(batch[0][1]) // FLOAT_BYTES
        if dimension == 0 or any(len(vector) != dimension * FLOAT_BYTES for _, vector in batch):
            raise InvalidInput(f"vectors of {model} must have {dimension} float32 numbers each")
        if known is None:
            await self._database.run("INSERT INTO models (model, dimension) VALUES (?, ?)", (model, dimension))

    async def vectors(self, model: str, after: int = 0) -> AsyncGenerator[VectorBatch, None]:
        """Yield all vectors of a model that were put after the batch whose `last` is `after`, in batches."""
        while True:
            found = await self._rows(
                f"SELECT number, {_PLACE}, vector FROM vectors WHERE model = ? AND number > ? ORDER BY number LIMIT ?",  # noqa: S608
                (model, after, _BATCH),
            )
            if not found:
                return
            after = found[-1][0]
            yield VectorBatch(after, [(place, vector) for _, place, vector in found])

    async def vector_ids(self, model: str) -> list[int]:
        """Return the places that have a vector of this model, in order."""
        found = await self._rows(f"SELECT {_PLACE} AS place FROM vectors WHERE model = ? ORDER BY place", (model,))  # noqa: S608
        return [place for (place,) in found]

    async def newest_vector(self, model: str) -> int:
        """Return the number of the vector of a model that was put last, 0 for none; `vectors` goes on after it."""
        return await self._number("SELECT COALESCE(MAX(number), 0) FROM vectors WHERE model = ?", (model,))

    async def newest_embedded(self, model: str) -> int:
        """Return the greatest local id that a model has embedded, 0 for none."""
        return await self._number("SELECT COALESCE(MAX(id), 0) FROM vectors WHERE model = ?", (model,))

    # --- names of places --------------------------------------------------------------------------------------

    async def names(self, places: Sequence[int]) -> dict[int, RecordId]:
        """Return the names of visible passages by their places; unknown ones are left out."""
        found = await self._rows(
            """SELECT log.id, origin, seq FROM log JOIN passages USING (id)
               WHERE log.id IN (SELECT value FROM json_each(?))""",
            (json_list(places),),
        )
        return {local: record_id(origin, seq) for local, origin, seq in found}

    async def recollections(self, places: Sequence[int]) -> dict[int, Recollection]:
        """Return the current memories and summaries by their places; others are left out."""
        found = await self._rows(
            """SELECT id, key, COALESCE(memories.language, summaries.language, '') FROM log
               LEFT JOIN memories USING (id) LEFT JOIN summaries USING (id)
               WHERE id IN (SELECT value FROM json_each(?))
               AND COALESCE(memories.is_current, summaries.is_current, 0)""",
            (json_list(place - RECOLLECTIONS for place in places),),
        )
        return {local + RECOLLECTIONS: Recollection(key, language) for local, key, language in found}

    async def languages_of(self, keys: Iterable[str]) -> dict[RecordId, str]:
        """Return the languages of memories and summaries by their keys."""
        found = await self._rows(
            """SELECT visible.key, COALESCE(memories.language, summaries.language, '') FROM visible
               LEFT JOIN memories USING (id) LEFT JOIN summaries USING (id)
               WHERE visible.key IN (SELECT value FROM json_each(?))""",
            (msgspec.json.encode(list(keys)).decode(),),
        )
        return {RecordId(key): language for key, language in found}

    # --- models -----------------------------------------------------------------------------------------------

    async def models(self) -> dict[str, int]:
        """Return the models that have vectors here, with how many."""
        return dict(await self._rows("SELECT model, COUNT(*) FROM vectors GROUP BY model"))

    async def folder_of(self, model: str) -> str:
        """Return the folder that a model was loaded from, "" for the bundled one or where it was not noted."""
        found = await self._rows("SELECT value FROM meta WHERE name = ?", (_FOLDER + model,))
        return str(found[0][0]) if found else ""

    async def note_folder(self, model: str, folder: str) -> None:
        """Keep where a model was loaded from, so that its index can serve while another model's is made."""
        await uninterrupted(self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_FOLDER + model, folder)))

    async def forget_model(self, model: str) -> None:
        """Drop all vectors of a model that is no longer used."""
        await uninterrupted(self._forget_model(model))

    async def _write(self, sql: str, parameters: Sequence[object]) -> None:
        async with self._database.writing():
            await self._database.run(sql, parameters)

    async def _forget_model(self, model: str) -> None:
        async with self._database.writing():
            await self._database.run("DELETE FROM vectors WHERE model = ?", (model,))
            await self._database.run("DELETE FROM models WHERE model = ?", (model,))
            await self._database.run("DELETE FROM meta WHERE name = ?", (_FOLDER + model,))

    async def _drop_unwanted_vectors(self) -> None:
        """Within a transaction: drop the vectors of what is not searched (any more)."""
        await self._database.run(f"DELETE FROM vectors WHERE id NOT IN ({_WANTED})")  # noqa: S608


def _to_text(row: Row) -> Text:
    local, origin, seq, kind, key, packed = row
    body = bodies.read(kind, key, packed)
    return Text(local, record_id(origin, seq), derive.text_of(body) if body is not None else "")
