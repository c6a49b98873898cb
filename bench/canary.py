"""A word that occurs nowhere else, planted in a cluster, and every byte of it that is left in the nodes' files.

What is looked for, in every file below a node's folder (database, WAL, index, logs, spool), whatever its name:
- the word, in any case, but for its first letters and its ending: a keyword index cuts both;
- 64 bytes of each vector that was made of it.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tarsd.identity import load_identity
from tarsd.memory.bodies import MEMORY, SUMMARY, MemoryBody, Source, SummaryBody
from tarsd.memory.store import Store

_LETTERS = "bcdfghjklmnpqrstvwxz"
VECTOR_BYTES = 64


class Canary:
    """One planted word, with the document, memory and summary that tell it."""

    def __init__(self) -> None:
        self.word = "Zqx" + "".join(secrets.choice(_LETTERS) for _ in range(14)) + "as"
        self._needle = self.word[3:-3].lower().encode()
        self.file = f"safe-{secrets.token_hex(3)}.md"
        self.document = (
            f"# The safe\n\nThe safe behind the picture opens with the word {self.word}, said twice.\n\n"
            f"Nobody but the owner of the house may know {self.word}.\n"
        ).encode()
        self.sha256 = hashlib.sha256(self.document).hexdigest()
        self.vectors: list[bytes] = []

    def bodies(self) -> list[tuple[str, str, MemoryBody | SummaryBody]]:
        """Return what is remembered of it, as entries of a store."""
        name = hashlib.sha256(self.word.encode()).hexdigest()[:16]
        memory = MemoryBody(name, f"The safe opens with {self.word}", sources=[Source(document=self.sha256)])
        summary = SummaryBody(
            name,
            "An evening at home",
            f"The boiler was repaired. The safe behind the picture opens with the word {self.word}, said twice.",
            documents=[self.file],
        )
        return [(MEMORY, "", memory), (SUMMARY, "", summary)]

    def take_vectors(self, database: Path) -> int:
        """Learn which vectors were made of it, from a copy of a node's database; return how many."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "memory.db"
            for suffix in ("", "-wal"):
                if (path := database.with_name(database.name + suffix)).exists():
                    shutil.copy(path, copy.with_name(copy.name + suffix))
            with closing(sqlite3.connect(copy)) as connection:
                found = connection.execute(
                    "SELECT vector FROM vectors JOIN log USING (id) WHERE instr(body, ?)", (self.word.encode(),)
                ).fetchall()
        self.vectors = [vector[:VECTOR_BYTES] for (vector,) in found]
        return len(self.vectors)

    def bytes_left(self, folders: Iterable[Path]) -> dict[str, int]:
        """Return how many bytes of it stand in which files, by `<node>/<path>`; {} when it is gone."""
        left: dict[str, int] = {}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if size := self._bytes_in(path):
                    left[f"{folder.name}/{path.relative_to(folder)}"] = size
        return left

    def _bytes_in(self, path: Path) -> int:
        try:
            if not path.is_file():
                return 0
            content = path.read_bytes()
        except FileNotFoundError:  # replaced or deleted this very moment
            return 0
        words = content.lower().count(self._needle) * len(self._needle)
        return words + sum(content.count(vector) for vector in self.vectors) * VECTOR_BYTES


async def plant(folder: Path, canaries: Iterable[Canary]) -> None:
    """Write what is remembered of canaries into the records of a node that is not running."""
    data = folder / "data"
    store = await Store.open(data / "memory.db", load_identity(data).node_id)
    try:
        await store.append_many([entry for canary in canaries for entry in canary.bodies()])
    finally:
        await store.close()
