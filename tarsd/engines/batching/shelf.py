"""Pure: the states of sequences that were pushed out, in memory within a bound; the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

SAVE_LEAST_TOKENS = 48  # a shorter row is read again in no time


class Saved(NamedTuple):
    """A row: its tokens, its state, and the text that it stands for ("" = not known)."""

    tokens: list[int]
    state: bytes
    text: str


class Shelf:
    """Rows of tokens with their bytes, by key."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[int, Saved] = OrderedDict()
        self._next = 0
        self.held_bytes = 0

    def rows(self) -> list[tuple[int, list[int]]]:
        """Return key and tokens of each."""
        return [(key, saved.tokens) for key, saved in self._kept.items()]

    def texts(self) -> list[tuple[str, list[int]]]:
        """Return text and tokens of each whose text is known."""
        return [(saved.text, saved.tokens) for saved in self._kept.values() if saved.text]

    def wants(self, tokens: list[int], size_bytes: int) -> bool:
        """Tell whether a row of that size is worth keeping and fits at all."""
        return len(tokens) >= SAVE_LEAST_TOKENS and 0 < size_bytes <= self._most_bytes

    def put(self, tokens: list[int], state: bytes, text: str = "") -> None:
        """Keep a row; those that its conversation made obsolete, and then the oldest, make room."""
        for key in [key for key, (kept, *_) in self._kept.items() if kept == tokens[: len(kept)]]:
            self._forget(key)
        while self._kept and self.held_bytes + len(state) > self._most_bytes:
            self._forget(next(iter(self._kept)))
        if len(state) <= self._most_bytes:
            self._kept[self._next] = Saved(tokens, state, text)
            self._next += 1
            self.held_bytes += len(state)

    def take(self, key: int) -> bytes:
        """Return a row's state and forget it: it is in the context again."""
        state = self._kept[key].state
        self._forget(key)
        return state

    def clear(self) -> None:
        """Keep none."""
        for key in list(self._kept):
            self._forget(key)

    def _forget(self, key: int) -> None:
        self.held_bytes -= len(self._kept.pop(key).state)
