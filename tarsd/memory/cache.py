"""Answers to frequent questions of the memory, kept until anything that searches find is written.

Rules
1. Such a write drops all: what was found must never outlive what was forgotten.
2. Of a question only a keyed hash is kept, with a key that no other process knows: no text of it stands in memory.
3. Questions that differ in case and spaces are one question; accents tell words apart, so they are kept.
4. What is kept is bounded in number and bytes; what was asked longest ago makes room.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections import OrderedDict, defaultdict
from typing import Generic, NamedTuple, TypeVar

import msgspec

ValueT = TypeVar("ValueT")

LIMIT = 512
LIMIT_BYTES = 4 * 1024 * 1024
_OVERHEAD_BYTES = 200  # of an entry beside its value


class _Kept(NamedTuple, Generic[ValueT]):
    value: ValueT
    size_bytes: int


class Counted(msgspec.Struct):
    """How often one call was answered from the cache and how often not."""

    hits: int = 0
    misses: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of questions that were answered from the cache, 0 when none was asked."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


def normal(query: str) -> str:
    """Return what two spellings of a question have in common (rule 3)."""
    return " ".join(unicodedata.normalize("NFC", query).casefold().split())


class QueryCache(Generic[ValueT]):
    """The latest answers of some calls. A key names all that an answer depends on: limit, language, model."""

    def __init__(self, limit: int = LIMIT, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, _Kept[ValueT]] = OrderedDict()
        self._generation = 0
        self.size_bytes = 0
        self.counted: dict[str, Counted] = defaultdict(Counted)

    def key(self, call: str, query: str, *more: str | int) -> bytes:
        """Return the key of a question to a call (rules 2 and 3)."""
        packed = msgspec.msgpack.encode((call, normal(query), more))
        return hashlib.blake2b(packed, key=self._secret, digest_size=16).digest()

    def get(self, call: str, key: bytes) -> ValueT | None:
        """Return the kept answer, None when it must be found."""
        kept = self._kept.get(key)
        if kept is None:
            self.counted[call].misses += 1
            return None
        self.counted[call].hits += 1
        self._kept.move_to_end(key)
        return kept.value

    @property
    def generation(self) -> int:
        """The number of the state that is cached; take it before a search, give it with the answer."""
        return self._generation

    def put(self, key: bytes, value: ValueT, size_bytes: int, generation: int) -> None:
        """Keep an answer, unless something was written since `generation`, while it was being found."""
        size_bytes += _OVERHEAD_BYTES
        if generation != self._generation or size_bytes > self._limit_bytes:
            return
        self._drop(key)
        self._kept[key] = _Kept(value, size_bytes)
        self.size_bytes += size_bytes
        while len(self._kept) > self._limit or self.size_bytes > self._limit_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self.size_bytes -= kept.size_bytes

    def clear(self) -> int:
        """Forget all answers, and return how many; to be called at every write that searches can find (rule 1)."""
        self._generation += 1
        cleared = len(self._kept)
        self._kept.clear()
        self.size_bytes = 0
        return cleared
