"""`tarsd memory status` as a person and as a program meet it."""

from __future__ import annotations

import json

import pytest

from tarsd import calls
from tarsd.calls import CopyStanding, MemoryStatusItem
from tarsd.cli.memory_status_words import ENGLISH, SPANISH
from tarsd.gossip.member import State
from tarsd.names import NodeId, NodeName
from tests.test_routing import member

ABLE = {calls.MEMORY_STATUS.name: {}}
MEMBERS = (
    member("pc1", is_self=True, capabilities=ABLE),
    member("pc2", capabilities=ABLE, state=State.DEAD, reason="no answer"),
)
SAFE = MemoryStatusItem(
    node=NodeId("a"),
    name=NodeName("pc1"),
    records=120,
    copies_wanted=2,
    others=[CopyStanding(NodeId("b"), NodeName("pc2"), "dead", 0)],
    single=0,
    single_at=0.0,
    waiting=0,
    quarantined=0,
    refused=[],
    disk_bytes={"database": 4_000_000, "wal": 0, "vectors": 1_000_000, "backups": 0, "damaged": 0},
    disk_free_bytes=9_000_000_000,
    clock_ahead_s={},
    syncing={},
)
WORRIED = MemoryStatusItem(
    **{field: getattr(SAFE, field) for field in SAFE.__struct_fields__}
    | {
        "others": [
            CopyStanding(NodeId("b"), NodeName("pc2"), "dead", 12, 7200.0),
            CopyStanding(NodeId("c"), NodeName("pc3"), "alive", -1),
        ],
        "single": 12,
        "single_at": 1.0,
        "refused": ["1 from x.1, first 3: a fork\x1b[2J"],
        "clock_ahead_s": {"x.1": 240.0},
        "syncing": {"pc3": {"records": 50, "of": 200}},
        "branches": ["x.1~ab"],
    }
)


@pytest.fixture
def served_with(serve):
    async def with_status(item: MemoryStatusItem):
        return await serve(replies={calls.MEMORY_STATUS.name: [item]}, members=lambda: MEMBERS)

    return with_status


async def test_all_is_well_is_said_in_one_line(served_with, tarsd):
    served = await served_with(SAFE)
    ended = await tarsd("--api", served.url, "memory", "status")
    assert ended.code == 0
    assert ENGLISH.all_safe in ended.out
    assert ENGLISH.away.format(node="pc2", reason="no answer") in ended.out
    assert "4.0 MB" in ended.out
    assert "!" not in ended.out


async def test_what_is_not_safe_is_told_with_its_age(served_with, tarsd):
    served = await served_with(WORRIED)
    ended = await tarsd("--api", served.url, "memory", "status")
    assert "all but 12 records, the oldest 2 h old" in ended.out
    assert "pc1: 12 records have one copy only" in ended.out
    assert "the clock of x.1 is 4 min ahead" in ended.out
    assert ended.out.count(ENGLISH.branch.format(origin="x.1~ab")) == 1
    assert "50 of 200 (25 %)" in ended.out
    assert "a fork[2J" in ended.out
    assert "\x1b" not in ended.out
    assert ENGLISH.all_safe not in ended.out


async def test_the_same_in_spanish(served_with, tarsd):
    served = await served_with(WORRIED)
    ended = await tarsd("--api", served.url, "--lang", "es", "memory", "status")
    assert "pc1: 12 registros tienen una sola copia" in ended.out
    assert SPANISH.unknown in ended.out


async def test_programs_get_the_whole_account(served_with, tarsd):
    served = await served_with(WORRIED)
    ended = await tarsd("--api", served.url, "--json", "memory", "status")
    nodes = json.loads(ended.out)["nodes"]
    assert [(node["name"], bool(node["status"])) for node in nodes] == [("pc1", True), ("pc2", False)]
    assert nodes[0]["status"]["single"] == 12
