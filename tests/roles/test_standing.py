"""What people are told of the copies is what there is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tarsd.memory.hlc import stamp
from tarsd.memory.log import EMPTY, branch_name, make
from tarsd.roles.standing import standing
from tests.roles.home import Home, HomeNode


@pytest.fixture
async def home(tmp_path: Path) -> AsyncGenerator[Home, None]:
    found = Home(tmp_path)
    yield found
    await found.close()


async def standing_of(node: HomeNode, folder: Path):
    config = msgspec.structs.replace(
        node.services.config, node=msgspec.structs.replace(node.services.config.node, data_dir=folder)
    )
    return await standing(replace(node.services, config=config), node.replicator)


async def test_records_that_another_node_has_are_not_single(home: Home, tmp_path: Path) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm([await ana.store.append("note", "note/1", b"x")])
    home.part("a", "b")
    home.gossip()
    before = await standing_of(ana, tmp_path)
    assert (before.records, before.single, before.single_at) == (1, 0, 0.0)
    assert [(each.name, each.state, each.behind) for each in before.others] == [("bbbb", "dead", 0)]
    late = await ana.store.append("note", "note/2", b"y")
    await ana.store.append("note", "note/3", b"z")
    after = await standing_of(ana, tmp_path)
    assert (after.single, after.others[0].behind) == (2, 2)
    assert after.single_at == (late.hlc >> 16) / 1000
    home.heal()
    await home.settle()
    assert (await standing_of(ana, tmp_path)).single == 0
    assert (await standing_of(bob, tmp_path)).single == 0


async def test_a_node_that_never_said_what_it_has_is_not_called_whole(home: Home, tmp_path: Path) -> None:
    ana, _ = await home.add("a"), await home.add("b")
    await ana.store.append("note", "note/1", b"x")
    home.part("a", "b")
    home.gossip()
    assert (await standing_of(ana, tmp_path)).others[0].behind == -1


async def test_a_wrong_clock_and_a_refused_record_are_seen(home: Home, tmp_path: Path) -> None:
    ana = await home.add("a")
    good = make("node.1", EMPTY, stamp(2**42), "note", "note/1", b"x")
    await ana.store.apply([good, msgspec.structs.replace(good, key="note/2")])
    found = await standing_of(ana, tmp_path)
    assert list(found.clock_ahead_s) == ["node.1"]
    assert found.quarantined == 1
    assert "seal" in found.refused[0]


async def test_an_origin_that_two_nodes_wrote_is_named(home: Home, tmp_path: Path) -> None:
    ana = await home.add("a")
    record = await ana.store.append("note", "note/1", b"x")
    assert (await standing_of(ana, tmp_path)).branches == []
    await ana.store.give_way(record.origin, 0, bytes(32))
    assert (await standing_of(ana, tmp_path)).branches == [branch_name(record.origin, record.sha)]


async def test_the_room_on_disk_is_told_by_what_takes_it(home: Home, tmp_path: Path) -> None:
    ana = await home.add("a")
    folder = tmp_path / "data"
    (folder / "backups" / "one").mkdir(parents=True)
    (folder / "memory.db").write_bytes(bytes(10))
    (folder / "memory.db-wal").write_bytes(bytes(20))
    (folder / "memory.db.corrupt-1").write_bytes(bytes(30))
    (folder / "backups" / "one" / "x").write_bytes(bytes(5000))
    found = await standing_of(ana, folder)
    assert (found.disk_bytes["database"], found.disk_bytes["wal"], found.disk_bytes["damaged"]) == (10, 20, 30)
    assert found.disk_bytes["backups"] == 5000
    assert found.disk_free_bytes > 0
