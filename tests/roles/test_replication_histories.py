"""Any history of writes, forgetting, splits, stray deliveries and set-back disks ends in one state, nothing lost."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tarsd.errors import NotFound
from tarsd.memory.bodies import MemoryBody, memory_key
from tarsd.memory.log import digest, is_erased
from tarsd.memory.store import Store
from tests.roles.home import Home, HomeNode

NODES = st.sampled_from("abc")
NAMES = st.sampled_from(["x", "y", "z"])


async def records_of(store: Store) -> list[Any]:
    found: list[Any] = []
    while batch := await store.records_since({each.origin: each.seq for each in found}):
        found += batch
    return found


async def state_of(store: Store) -> dict[str, Any]:
    database = store._database
    async with database.reading():
        return {
            "log": await database.rows("SELECT origin, seq, sha, state, body FROM log ORDER BY origin, seq"),
            "visible": await database.rows(
                "SELECT visible.key, log.sha FROM visible JOIN log USING (id) ORDER BY visible.key"
            ),
            "memories": await database.rows("SELECT memory, is_current FROM memories ORDER BY memory"),
            "keywords": await database.rows(
                "SELECT log.key, stems FROM keywords JOIN log ON log.id = keywords.rowid ORDER BY log.key"
            ),
        }


class Histories(RuleBasedStateMachine):
    """Three nodes; only the first one's disk is ever set back, so that what two had is never lost."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.home = Home(Path(self.folder.name))
        self.image: Path | None = None
        self.written = 0
        self.safe: list[bytes] = []  # digests of the bodies that were said to be on two disks

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def node(self, letter: str) -> HomeNode:
        return self.home.nodes[letter]

    @initialize()
    def begin(self) -> None:
        for letter in "abc":
            self.run(self.home.add(letter, copies_wait_ms=0))

    @rule(letter=NODES, name=NAMES, count=st.integers(1, 3))
    def write(self, letter: str, name: str, count: int) -> None:
        self.written += count
        entries = [("memory", "", MemoryBody(name, f"text {self.written - each}")) for each in range(count)]
        records = self.run(self.node(letter).store.append_many(entries))
        if self.run(self.node(letter).replicator.confirm(records)).copies > 1:
            self.safe += [digest(record.body) for record in records]

    @rule(letter=NODES, name=NAMES)
    def forget(self, letter: str, name: str) -> None:
        try:
            self.run(self.node(letter).store.forget(memory_key(name)))
        except NotFound:
            return

    @rule(letter=NODES, name=NAMES)
    def write_and_wait(self, letter: str, name: str) -> None:
        self.gossip(60)
        self.write(letter, name, 1)
        self.gossip(60)

    @rule(ticks=st.integers(1, 40))
    def gossip(self, ticks: int) -> None:
        async def tick() -> None:
            self.home.gossip()
            for _ in range(ticks):
                await asyncio.sleep(0.001)

        self.run(tick())

    @rule(one=NODES, other=NODES)
    def part(self, one: str, other: str) -> None:
        if one != other:
            self.home.part(one, other)

    @rule()
    def heal(self) -> None:
        self.home.heal()

    @rule(giver=NODES, taker=NODES, seed=st.integers(0, 1000), size=st.integers(1, 7))
    def deliver(self, giver: str, taker: str, seed: int, size: int) -> None:
        """Records come in any order, twice, and not all of them."""
        found = self.run(records_of(self.node(giver).store))
        chance = random.Random(seed)
        chosen = [record for record in found * 2 if chance.random() < 0.6]
        chance.shuffle(chosen)
        for first in range(0, len(chosen), size):
            self.run(self.node(taker).store.apply(chosen[first : first + size]))

    @rule()
    def take_image(self) -> None:
        path = self.run(self.home.remove("a"))
        self.image = Path(shutil.copy(path, path.with_name("image")))
        self.run(self.home.add("a", copies_wait_ms=0))

    @precondition(lambda self: self.image is not None)
    @rule()
    def set_back(self) -> None:
        shutil.copy(self.image, self.run(self.home.remove("a")))
        self.run(self.home.add("a", copies_wait_ms=0))

    def teardown(self) -> None:
        try:
            if self.home.nodes:
                self.home.heal()
                self.run(self.home.settle())
                self.check()
        finally:
            self.run(self.home.close())
            self.loop.close()
            self.folder.cleanup()

    def check(self) -> None:
        states = [self.run(state_of(self.node(letter).store)) for letter in "abc"]
        assert states[0] == states[1] == states[2]
        records = self.run(records_of(self.node("b").store))
        there = {record.body if is_erased(record) else digest(record.body) for record in records}
        assert there.issuperset(self.safe)
        for letter in "abc":
            problems = self.run(self.node(letter).store.integrity_check())
            assert [line for line in problems if not line.startswith("quarantine")] == []


Histories.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
test_histories = Histories.TestCase
