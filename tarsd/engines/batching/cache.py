"""Pure: which sequence of the context an answer gets, what of its prompt is there already, and what must go for it.

A sequence is a row of tokens in the context's cells: busy while an answer is written, warm afterwards, until somebody
needs its cells.

Rules
1. All sequences together never hold more than `cells`. A busy one has reserved what its answer may still need, so that
   no answer runs out of cells because of others.
2. An answer continues the warm sequence that shares most of its prompt, when that keeps at least half of what the
   sequence holds (the same conversation). Otherwise that one stays warm, and what is shared (a system prompt) is copied
   to another sequence, also from a busy one: however little it is. A copy only marks cells, in some microseconds; a
   token takes milliseconds to evaluate.
3. Cells are taken from warm sequences only, the least recently used first; what is pushed out may be saved elsewhere.
4. The last token of a prompt is always evaluated: its logits begin the answer.
5. A model whose state cannot go back (recurrent, hybrid) continues a sequence only from its very end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

RESTORE_LEAST = 32  # tokens: a saved state is copied byte by byte


class Evict(NamedTuple):
    """Forget a sequence; `tokens` is what it held, for who wants to save it first."""

    sequence: int
    tokens: list[int]


class Copy(NamedTuple):
    """Let `to` hold the first `length` tokens of `source` too."""

    source: int
    to: int
    length: int


class Restore(NamedTuple):
    """Bring a saved row back into `to`."""

    key: int
    to: int


class Cut(NamedTuple):
    """Forget what `sequence` holds from `length` on."""

    sequence: int
    length: int


Effect = Evict | Copy | Restore | Cut


class Placement(NamedTuple):
    """Where an answer is written: `effects` are to be carried out in order, then the prompt goes on at `reused`."""

    sequence: int
    reused: int
    effects: list[Effect]


@dataclass
class Row:
    """One sequence."""

    held: list[int] = field(default_factory=list)
    reserved: int = 0  # cells, while it is busy
    used_at: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether an answer is written there."""
        return self.reserved > 0

    @property
    def cells(self) -> int:
        """How many it holds or may come to hold."""
        return max(self.reserved, len(self.held))


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    low, high = 0, most  # the first difference by halving: comparing slices is far faster than token by token
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Cache:
    """The sequences of one context."""

    def __init__(self, cells: int, sequences: int, *, can_rewind: bool = True) -> None:
        self.cells = cells
        self.rows = [Row() for _ in range(sequences)]
        self._can_rewind = can_rewind
        self._clock = 0

    @property
    def used(self) -> int:
        """How many cells are held or reserved."""
        return sum(row.cells for row in self.rows)

    def place(
        self, prompt: list[int], most_new: int, saved: Sequence[tuple[int, list[int]]] = (), *, fresh: bool = False
    ) -> Placement | None:
        """Reserve room for `prompt` and so many new tokens; None while busy sequences leave too little of it.

        `saved`: key and tokens of rows that were pushed out. `fresh`: reuse nothing.
        """
        need = len(prompt) + most_new
        if need > self.cells - sum(row.reserved for row in self.rows):
            return None
        if all(row.is_busy for row in self.rows):
            return None
        source, shared = (None, 0) if fresh else self._best(prompt)
        key, kept = (None, 0) if fresh else self._best_saved(prompt, saved)
        if key is not None and kept >= shared + RESTORE_LEAST:
            return self._elsewhere(prompt, need, kept, None, key)
        if source is not None and not self.rows[source].is_busy and self._continues(source, shared):
            return self._in_place(source, prompt, need, shared)
        if source is not None and self._can_rewind:
            return self._elsewhere(prompt, need, shared, source, None)
        return self._elsewhere(prompt, need, 0, None, None)

    def extend(self, sequence: int, tokens: Sequence[int]) -> None:
        """Say that `tokens` were evaluated at the end of a sequence."""
        self.rows[sequence].held += tokens

    def finish(self, sequence: int) -> None:
        """Say that its answer ended: what it holds stays warm."""
        row = self.rows[sequence]
        row.reserved = 0
        self._clock += 1
        row.used_at = self._clock

    def drop_warm(self) -> list[Evict]:
        """Forget all that is warm, and return how."""
        return [self._evict(number) for number, row in enumerate(self.rows) if not row.is_busy and row.held]

    def _best(self, prompt: list[int]) -> tuple[int | None, int]:
        """Return the sequence that shares most with `prompt`, and how much; a warm one before a busy one."""
        best, most = None, 0
        for number, row in enumerate(self.rows):
            shared = self._usable(row.held, prompt)
            if shared > most or (shared == most > 0 and best is not None and self.rows[best].is_busy):
                best, most = number, shared
        return best, most

    def _best_saved(self, prompt: list[int], saved: Sequence[tuple[int, list[int]]]) -> tuple[int | None, int]:
        found = [(self._usable(tokens, prompt), key) for key, tokens in saved]
        most, key = max(found, default=(0, -1))
        return (key, most) if most else (None, 0)

    def _usable(self, held: list[int], prompt: list[int]) -> int:
        shared = min(common(held, prompt), len(prompt) - 1)
        return shared if self._can_rewind or shared == len(held) else 0

    def _continues(self, number: int, shared: int) -> bool:
        held = len(self.rows[number].held)
        return 2 * shared >= held or not any(not row.is_busy for at, row in enumerate(self.rows) if at != number)

    def _in_place(self, number: int, prompt: list[int], need: int, shared: int) -> Placement:
        effects: list[Effect] = []
        row = self.rows[number]
        if shared < len(row.held):
            effects.append(Cut(number, shared))
            del row.held[shared:]
        return self._reserve(number, prompt, need, shared, effects, keep=number)

    def _elsewhere(self, prompt: list[int], need: int, shared: int, source: int | None, key: int | None) -> Placement:
        """Take an empty sequence, or the least recently used one; fill it with what is shared."""
        warm = [at for at, row in enumerate(self.rows) if not row.is_busy and at != source]
        if not warm:  # the source itself is the only one left
            assert source is not None
            return self._in_place(source, prompt, need, shared)
        number = min(warm, key=lambda at: (bool(self.rows[at].held), self.rows[at].used_at))
        effects: list[Effect] = [self._evict(number)] if self.rows[number].held else []
        if source is not None and not self.rows[source].is_busy and not self._fits_beside(source, need):
            source, shared = None, 0  # it must go itself
        placed = self._reserve(number, prompt, need, shared, effects, keep=source)
        if source is not None and shared:
            effects.append(Copy(source, number, shared))
        elif key is not None:
            effects += [Restore(key, number), Cut(number, shared)]
        self.rows[number].held = prompt[:shared]
        return placed

    def _fits_beside(self, source: int, need: int) -> bool:
        reserved = sum(row.reserved for row in self.rows)
        return reserved + len(self.rows[source].held) + need <= self.cells

    def _reserve(
        self, number: int, prompt: list[int], need: int, shared: int, effects: list[Effect], keep: int | None
    ) -> Placement:
        """Make room (rule 3) and take it."""
        self.rows[number].reserved = need
        warm = sorted(
            (at for at, row in enumerate(self.rows) if not row.is_busy and row.held and at != keep),
            key=lambda at: self.rows[at].used_at,
        )
        for at in warm:
            if self.used <= self.cells:
                break
            effects.append(self._evict(at))
        return Placement(number, shared, effects)

    def _evict(self, number: int) -> Evict:
        row = self.rows[number]
        tokens, row.held = row.held, []
        return Evict(number, tokens)
