"""What stands under a key now: the base of all that is read of the store.

Rules
1. Only what is visible is read: a key's newest readable record, as `derive` keeps it.
2. A key is forgotten where a tombstone covers it or what lies above it (`log`, rule 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsd.memory.bodies import Body, SettingBody, read, setting_key
from tarsd.memory.log import ancestors
from tarsd.memory.vector_table import VectorTable, json_list
from tarsd.wire import decode

AUTOMATIC = "automatic"
_BATCH = 500
_AFTER_SLASH = "0"  # the character after "/": what lies below "a/" is from "a/" to "a0"


class ByKey(VectorTable):
    """Reads by key. Every method raises `StorageError` when the disk or database fails."""

    async def at(self, keys: Sequence[str]) -> Mapping[str, tuple[str, bytes]]:
        """Return kind and body of each of these keys that is visible."""
        found = await self._rows(
            """SELECT visible.key, kind, body FROM visible JOIN log ON log.id = visible.id
               WHERE visible.key IN (SELECT value FROM json_each(?))""",
            (json_list(keys),),
        )
        return {key: (kind, body) for key, kind, body in found}

    async def below(self, key: str, after: str, limit: int) -> list[tuple[str, str, bytes]]:
        """Return key, kind and body of what is visible below `key`, in the order of keys, from behind `after` on."""
        return [
            (found, kind, body)
            for found, kind, body in await self._rows(
                """SELECT visible.key, kind, body FROM visible JOIN log ON log.id = visible.id
                   WHERE visible.key > ? AND visible.key < ? ORDER BY visible.key LIMIT ?""",
                (max(after, f"{key}/"), f"{key}{_AFTER_SLASH}", limit),
            )
        ]

    async def bodies_below(self, key: str) -> list[Body]:
        """Return what is visible below a key, in the order of the keys; "memory" for all memories."""
        found: list[Body] = []
        after = ""
        while rows := await self.below(key, after, _BATCH):
            found += [body for name, kind, packed in rows if (body := read(kind, name, packed)) is not None]
            after = rows[-1][0]
        return found

    async def body_of(self, key: str) -> Body | None:
        """Return what is visible at a key, None where nothing is."""
        kind, packed = (await self.at([key])).get(key, ("", b""))
        return read(kind, key, packed) if kind else None

    async def forgotten(self, keys: Sequence[str]) -> set[str]:
        """Return those of these keys that a tombstone covers (rule 2)."""
        above = {key: ancestors(key) for key in keys}
        names = sorted({name for each in above.values() for name in each})
        found = await self._rows(
            "SELECT key FROM graves WHERE key IN (SELECT value FROM json_each(?))", (json_list(names),)
        )
        graves = {key for (key,) in found}
        return {key for key, names in above.items() if not graves.isdisjoint(names)}

    async def automatic(self, person: str) -> bool:
        """Tell whether this person lets TARS learn about it by itself; who never said so does."""
        key = setting_key(AUTOMATIC, person)
        _, body = (await self.at([key])).get(key, ("", b""))
        return decode(body, SettingBody).value if body else True
