"""Answers to frequent questions of the memory, kept until anything is written.

Every write drops all: what was found must never outlive what was forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class QueryCache(Generic[ValueT]):
    """The last `limit` answers. A key names all that an answer depends on: query, limit, language, model."""

    def __init__(self, limit: int = 128) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, ValueT] = OrderedDict()
        self._generation = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> ValueT | None:
        """Return the kept answer, None when it must be found."""
        value = self._kept.get(key)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return value

    @property
    def generation(self) -> int:
        """The number of the state that is cached; take it before a search, give it with the answer."""
        return self._generation

    def put(self, key: Hashable, value: ValueT, generation: int) -> None:
        """Keep an answer, unless something was written since `generation`, while it was being found."""
        if generation != self._generation:
            return
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def clear(self) -> int:
        """Forget all answers, and return how many; to be called at every write."""
        self._generation += 1
        cleared = len(self._kept)
        self._kept.clear()
        return cleared

    def hit_rate(self) -> float:
        """Return the share of questions that were answered from here, 0 when none was asked."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
