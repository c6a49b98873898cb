"""A whole tarsd node that also writes when it is told to: what a front end does, without one in between.

`python -m bench.memory_node CONFIG SOCKET` runs it until SIGTERM. On the Unix socket it takes one JSON object a line
and answers each with one: {"do": "write", "count": 10, "size": 2000} and what else `Commands` has. Times are those of
the system's monotonic clock, the same in every process of the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tarsd.config import load_config
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.library import Change
from tarsd.node import Node

WORDS = tuple(
    f"{first}{middle}{last}"
    for first in ("cal", "bo", "pre", "ser", "tan", "ri", "mon", "lu", "fe", "gar")
    for middle in ("de", "le", "vi", "sion", "ter", "pa", "so", "ni")
    for last in ("ra", "ing", "ed", "s", "ado", "iendo", "cion", "ment", "al", "o", "er", "ity")
)


class Commands:
    """What the bench may tell a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._arrived: dict[str, float] = {}
        node.store.subscribe(self._changed)
        self._pending: asyncio.Queue[tuple[float, Change]] = asyncio.Queue()
        self._task = asyncio.create_task(self._note_arrivals())

    async def write(self, count: int = 1, size: int = 200, prefix: str = "m", batch: int = 1) -> dict[str, Any]:
        """Write memories and wait for their copies; return the seconds that each batch took, and what was said."""
        took: list[float] = []
        copies: list[int] = []
        degraded: list[str] = []
        committed: dict[str, float] = {}
        for first in range(0, count, batch):
            entries = [memory(f"{prefix}{number}", size) for number in range(first, min(count, first + batch))]
            began = time.monotonic()
            records = await self._node.store.append_many(entries)
            on_disk = time.monotonic()
            assert self._node.replicator is not None
            told = await self._node.replicator.confirm(records)
            took.append(time.monotonic() - began)
            copies.append(told.copies)
            degraded.append(told.degraded)
            committed |= {entry[1]: on_disk for entry in entries}
        return {"took_s": took, "copies": copies, "degraded": degraded, "committed": committed}

    async def fill(self, count: int, size: int = 200, prefix: str = "m") -> dict[str, Any]:
        """Write memories without waiting for copies."""
        for first in range(0, count, 1000):
            await self._node.store.append_many(
                [memory(f"{prefix}{number}", size) for number in range(first, min(count, first + 1000))]
            )
        return {}

    async def together(self, count: int, writers: int, size: int = 200, prefix: str = "t") -> dict[str, Any]:
        """Let several write one acknowledged memory after another; return the seconds."""
        began = time.monotonic()
        await asyncio.gather(*(self.write(count // writers, size, f"{prefix}{each}-") for each in range(writers)))
        return {"seconds": time.monotonic() - began, "count": count // writers * writers}

    async def arrivals(self) -> dict[str, Any]:
        """Return when each key was first visible here."""
        return {"arrived": self._arrived}

    async def standing(self) -> dict[str, Any]:
        """Return the mark and how many records are here."""
        heads = self._node.store.heads()
        return {"mark": self._node.store.mark(), "records": sum(seq for seq, _ in heads.values())}

    async def hashes(self) -> dict[str, Any]:
        """Return the hash over all rows of the log, over what is visible, and the number of keyword entries."""
        database = self._node.store._database  # noqa: SLF001
        queries = {
            "log": "SELECT origin, seq, sha, state, body FROM log ORDER BY origin, seq",
            "visible": "SELECT visible.key, log.sha FROM visible JOIN log USING (id) ORDER BY visible.key",
            "memories": "SELECT memory, scope, is_current FROM memories ORDER BY memory",
        }
        found: dict[str, Any] = {}
        async with database.reading():
            for name, query in queries.items():
                found[name] = hashlib.sha256(repr(await database.rows(query)).encode()).hexdigest()
            found["keywords"] = await database.value("SELECT COUNT(*) FROM keywords")
        return found

    async def keys(self) -> dict[str, Any]:
        """Return the keys of all memories that are visible."""
        return {"keys": [row[0] for row in await self._node.store.rows("SELECT 'memory/' || memory FROM memories")]}

    async def problems(self) -> dict[str, Any]:
        """Return what is wrong with the records here."""
        return {"problems": await self._node.store.integrity_check()}

    def _changed(self, change: Change) -> None:
        self._pending.put_nowait((time.monotonic(), change))

    async def _note_arrivals(self) -> None:
        """Put names to the local ids, after their time was taken."""
        database = self._node.store._database  # noqa: SLF001
        while True:
            at, change = await self._pending.get()
            for number in change.added:
                async with database.reading():
                    key = await database.value("SELECT key FROM log WHERE id = ?", (number,))
                if key:
                    self._arrived.setdefault(key, at)


def memory(name: str, size: int) -> tuple[str, str, MemoryBody]:
    """Return an entry of about so many bytes whose words differ from every other's."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    words: list[str] = []
    length = 0
    while length < size:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        words.append(WORDS[(seed >> 33) % len(WORDS)])
        length += len(words[-1]) + 1
    return "memory", f"memory/{name}", MemoryBody(name, " ".join(words), language="es")


async def serve(config: Path, socket: Path) -> None:
    """Run the node and take commands until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    node = Node(load_config(config))
    await node.start()
    commands = Commands(node)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            wanted = json.loads(line)
            answer = await getattr(commands, wanted.pop("do"))(**wanted)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(talk, socket, limit=2**26):
        await ended.wait()
    await node.stop()


if __name__ == "__main__":
    import uvloop

    Path(sys.argv[2]).unlink(missing_ok=True)
    uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
