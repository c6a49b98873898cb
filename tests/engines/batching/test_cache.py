"""The rules of the cache, apart from any model: hypothesis plays whole days of answers against it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tarsd.engines.batching.cache import Cache, Copy, Cut, Evict, Placement, Restore, common
from tarsd.engines.batching.shelf import Shelf

CELLS = 96
SEQUENCES = 4
# Prompts that begin alike: as conversations do that share a system prompt, and by chance.
PROMPTS = st.builds(
    lambda system, one, own: [0] * system + [one] * own,
    st.integers(0, 30),
    st.integers(1, 3),
    st.integers(1, 50),
) | st.lists(st.integers(0, 2), min_size=1, max_size=60)


class Day(RuleBasedStateMachine):
    """Answers come, are written and leave; a second copy of the context is kept by the effects alone."""

    @initialize(can_rewind=st.booleans())
    def open(self, can_rewind: bool) -> None:
        self.can_rewind = can_rewind
        self.cache = Cache(CELLS, SEQUENCES, can_rewind=can_rewind)
        self.shelf = Shelf(10_000)
        self.context: list[list[int]] = [[] for _ in range(SEQUENCES)]
        self.states: dict[int, list[int]] = {}
        self.busy: dict[int, tuple[list[int], int]] = {}  # sequence: prompt and what may still be written

    @rule(prompt=PROMPTS, most=st.integers(1, 30), fresh=st.booleans())
    def ask(self, prompt: list[int], most: int, fresh: bool) -> None:
        if len(prompt) + most > CELLS:
            return
        busy_before = set(self.busy)
        placed = self.cache.place(prompt, most, self.shelf.rows(), fresh=fresh)
        if placed is None:
            reserved = sum(row.reserved for row in self.cache.rows)
            assert reserved + len(prompt) + most > CELLS or len(busy_before) == SEQUENCES
            return
        assert placed.sequence not in busy_before
        assert 0 <= placed.reused < len(prompt)
        assert not (fresh and placed.reused)
        self.carry_out(placed, busy_before)
        assert self.context[placed.sequence] == prompt[: placed.reused]
        self.cache.extend(placed.sequence, prompt[placed.reused :])
        self.context[placed.sequence] += prompt[placed.reused :]
        self.busy[placed.sequence] = (prompt, most)

    def carry_out(self, placed: Placement, busy: set[int]) -> None:
        taken: dict[int, Any] = {e.key: self.shelf.take(e.key) for e in placed.effects if isinstance(e, Restore)}
        for effect in placed.effects:
            match effect:
                case Evict(sequence, tokens):
                    assert sequence not in busy
                    assert self.context[sequence] == tokens
                    if self.shelf.wants(tokens, len(tokens)):
                        self.shelf.put(tokens, bytes(tokens))
                    self.context[sequence] = []
                case Copy(source, to, length):
                    assert self.can_rewind
                    assert self.context[to] == []
                    self.context[to] = self.context[source][:length]
                case Restore(key, to):
                    assert self.context[to] == []
                    self.context[to] = list(taken[key])
                case Cut(sequence, length):
                    assert sequence not in busy
                    assert self.can_rewind or length == len(self.context[sequence])
                    del self.context[sequence][length:]

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.busy)))
        prompt, left = self.busy[sequence]
        if left:
            token = data.draw(st.integers(0, 2))
            self.cache.extend(sequence, [token])
            self.context[sequence].append(token)
            self.busy[sequence] = (prompt, left - 1)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.busy)))
        del self.busy[sequence]
        self.cache.finish(sequence)

    @invariant()
    def cells_are_never_exceeded(self) -> None:
        if hasattr(self, "cache"):
            assert self.cache.used <= CELLS
            assert sum(map(len, self.context)) <= CELLS

    @invariant()
    def the_context_is_what_the_cache_thinks(self) -> None:
        if hasattr(self, "cache"):
            assert self.context == [row.held for row in self.cache.rows]
            assert {at for at, row in enumerate(self.cache.rows) if row.is_busy} == set(self.busy)


TestDay = Day.TestCase


def held(cache: Cache, tokens: list[int], most: int = 1) -> int:
    """Let an answer of `tokens` come and go; return where it was."""
    placed = cache.place(tokens, most)
    assert placed is not None
    cache.extend(placed.sequence, tokens[placed.reused :])
    cache.finish(placed.sequence)
    return placed.sequence


def test_the_next_turn_of_a_conversation_goes_on_in_its_own_sequence() -> None:
    cache = Cache(1000, 4)
    first = held(cache, list(range(100)))
    held(cache, list(range(500, 600)))
    placed = cache.place([*range(100), 7, 8, 9], 10)
    assert placed == Placement(first, 100, [])


def test_another_conversation_copies_the_system_prompt_and_leaves_the_first_warm() -> None:
    cache = Cache(1000, 4)
    first = held(cache, [*range(40), *range(100, 200)])
    placed = cache.place([*range(40), *range(300, 400)], 10)
    assert placed is not None
    assert placed.reused == 40
    assert placed.effects == [Copy(first, placed.sequence, 40)]
    assert placed.sequence != first


def test_however_little_is_shared_is_copied_and_not_evaluated_again() -> None:
    cache = Cache(1000, 4)
    first = held(cache, [1, 2, *range(100, 200)])
    placed = cache.place([1, 2, *range(300, 330)], 10)
    assert placed is not None
    assert placed.effects == [Copy(first, placed.sequence, 2)]
    assert placed.reused == 2


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = Cache(100, 4)
    old = held(cache, [1] * 30)
    middle = held(cache, [2] * 30)
    held(cache, [1] * 30 + [5])  # the old one is used again
    placed = cache.place([3] * 40, 10)
    assert placed is not None
    assert [effect.sequence for effect in placed.effects if isinstance(effect, Evict)] == [middle]
    assert old != middle


def test_a_saved_row_comes_back_where_it_saves_more_than_what_is_warm() -> None:
    cache = Cache(1000, 4)
    held(cache, list(range(20)))
    placed = cache.place(list(range(200)), 10, [(9, list(range(150)))])
    assert placed is not None
    assert placed.reused == 150
    assert placed.effects == [Restore(9, placed.sequence), Cut(placed.sequence, 150)]
    cache = Cache(1000, 4)
    held(cache, list(range(140)))
    placed = cache.place(list(range(200)), 10, [(9, list(range(150)))])
    assert placed is not None
    assert placed.effects == []


def test_a_state_that_cannot_go_back_is_only_continued_from_its_end() -> None:
    cache = Cache(1000, 2, can_rewind=False)
    first = held(cache, list(range(50)))
    placed = cache.place([*range(49), 99, 98], 1)
    assert placed is not None
    assert placed.reused == 0
    cache.finish(placed.sequence)
    placed = cache.place([*range(50), 99], 1)
    assert placed == Placement(first, 50, [])


def test_who_lacks_room_waits_and_gets_it_when_another_leaves() -> None:
    cache = Cache(100, 4)
    running = cache.place([1] * 50, 20)
    assert running is not None
    assert cache.place([2] * 25, 10) is None
    cache.finish(running.sequence)
    assert cache.place([2] * 25, 10) is not None


def test_the_common_beginning_is_found_at_every_place() -> None:
    for length in range(20):
        assert common([1] * length + [2, 5], [1] * length + [3, 5, 6]) == length
        assert common([1] * length, [1] * 20) == length
