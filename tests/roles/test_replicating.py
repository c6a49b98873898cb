"""New records reach the other nodes, and what is said about copies is true."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import PushRequest, RecordsRequest
from tarsd.errors import InvalidInput, Overloaded
from tarsd.gossip.member import State
from tarsd.identity import PeerIdentity
from tarsd.memory.bodies import MemoryBody, memory_key
from tarsd.memory.log import EMPTY, is_branch, make
from tarsd.memory.store import Store
from tarsd.names import NodeName, Zone
from tarsd.roles import pulling, pushing
from tarsd.roles.holders import ALONE, SLOW
from tests.roles.home import Home, HomeNode
from tests.roles.role_help import SERVED


@pytest.fixture
async def home(tmp_path: Path) -> AsyncGenerator[Home, None]:
    found = Home(tmp_path)
    yield found
    await found.close()


async def say(node: HomeNode, *numbers: int) -> list[calls.Record]:
    """Write a memory for each number."""
    return await node.store.append_many([("memory", "", MemoryBody(f"{n:04}", f"fact {n}")) for n in numbers])


async def texts(store: Store) -> list[str]:
    database = store._database
    async with database.reading():
        return [row[0] for row in await database.rows("SELECT memory FROM memories ORDER BY memory")]


async def rows(store: Store) -> list[tuple[object, ...]]:
    database = store._database
    async with database.reading():
        return await database.rows("SELECT origin, seq, sha, state, body FROM log ORDER BY origin, seq")


async def test_a_write_is_confirmed_once_another_node_has_it_on_disk(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    records = await say(ana, 1)
    copies = await ana.replicator.confirm(records)
    assert (copies.copies, copies.wanted, copies.degraded) == (2, 2, "")
    assert await rows(bob.store) == await rows(ana.store)
    assert calls.RECORDS.name not in bob.asked + ana.asked


async def test_alone_a_write_is_told_at_once_with_the_note(home: Home) -> None:
    ana = await home.add("a", copies_wait_ms=10_000)
    records = await say(ana, 1)
    async with asyncio.timeout(5):  # half of what it would wait for a node
        copies = await ana.replicator.confirm(records)
    assert (copies.copies, copies.wanted, copies.degraded) == (1, 2, ALONE)


async def test_a_node_that_does_not_answer_holds_a_write_up_no_longer_than_set(home: Home) -> None:
    ana, _ = await home.add("a", copies_wait_ms=50), await home.add("b")
    home.gossip()
    home.part("a", "b")
    copies = await ana.replicator.confirm(await say(ana, 1))
    assert (copies.copies, copies.degraded) == (1, SLOW)


async def test_a_node_that_goes_away_meanwhile_is_not_waited_for(home: Home) -> None:
    ana, _ = await home.add("a", copies_wait_ms=10_000), await home.add("b")
    home.gossip()
    home.part("a", "b")
    waiting = asyncio.create_task(ana.replicator.confirm(await say(ana, 1)))
    await asyncio.sleep(0)
    home.gossip()
    async with asyncio.timeout(5):
        assert (await waiting).degraded == ALONE


async def test_a_copy_of_a_node_that_is_away_still_counts_after_a_restart(home: Home) -> None:
    ana, _ = await home.add("a"), await home.add("b")
    home.gossip()
    records = await say(ana, 1)
    await ana.replicator.confirm(records)
    home.part("a", "b")
    await home.remove("a")
    ana = await home.add("a")
    home.gossip()
    assert (await ana.replicator.confirm(records)).copies == 2
    assert (await ana.replicator.confirm(await say(ana, 2))).copies == 1


async def test_a_node_that_lost_its_disk_is_no_copy_any_more(home: Home) -> None:
    ana, bob = await home.add("a", copies_wait_ms=1000), await home.add("b")
    home.gossip()
    records = await say(ana, 1)
    assert (await ana.replicator.confirm(records)).copies == 2
    await ana.replicator.holders.heard(bob.id, {})
    home.part("a", "b")
    assert (await ana.replicator.confirm(records)).copies == 1


async def test_what_is_committed_while_a_push_is_under_way_goes_with_the_next_one(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 0))
    before = bob.asked.count(calls.PUSH.name)
    async with bob.store._writer.order:  # its disk is busy: the first push waits
        records = [(await say(ana, number))[0] for number in range(1, 30)]
    assert (await ana.replicator.confirm(records)).copies == 2
    assert bob.asked.count(calls.PUSH.name) - before <= 2


async def test_who_is_far_behind_is_left_to_its_own_pull(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "FAR_RECORDS", 10)
    ana = await home.add("a", copies_wait_ms=100)
    await say(ana, *range(50))
    pull = ana.handlers.pop(calls.RECORDS.name)
    bob = await home.add("b")
    home.gossip()
    assert (await ana.replicator.confirm(await say(ana, 50))).copies == 1
    assert await texts(bob.store) == []
    ana.handlers[calls.RECORDS.name] = pull
    await home.settle()
    assert await rows(bob.store) == await rows(ana.store)
    assert bob.replicator.puller.pulled == 51


async def test_a_push_that_failed_is_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "AGAIN_S", 0.01)
    ana, _ = await home.add("a", copies_wait_ms=100), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 1))
    home.part("a", "b")
    assert (await ana.replicator.confirm(await say(ana, 2))).degraded == SLOW
    ana.handlers.pop(calls.RECORDS.name)  # nothing is pulled
    home.heal()
    await home.come("b", 2)  # without a further word of gossip


async def test_a_tombstone_is_pushed_as_soon_as_anything(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 1))
    receipt = await ana.store.forget(memory_key("0001"))
    assert (await ana.replicator.confirm(receipt.tombstones)).copies == 2
    assert await texts(bob.store) == []
    assert calls.RECORDS.name not in bob.asked + ana.asked


async def test_a_node_that_came_back_is_greeted(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 1))
    home.part("a", "b")
    home.gossip()
    before = bob.asked.count(calls.PUSH.name)
    home.heal()
    bob.was_asked.clear()
    home.gossip()
    async with asyncio.timeout(30):
        await bob.was_asked.wait()
    assert bob.asked.count(calls.PUSH.name) > before


async def test_a_push_that_leaves_a_gap_is_followed_by_a_pull(home: Home) -> None:
    ana = await home.add("a")
    records = await say(ana, 1, 2, 3)
    bob = await home.add("b")
    home.gossip()
    await home.come("b", 3)
    carl = await home.add("c")
    carl.membership._members = (ana.seen(),)
    context = msgspec.structs.replace(SERVED, caller=PeerIdentity(ana.id, NodeName("aaaa"), Zone.CORE))
    answer = await anext(carl.replicator.push(PushRequest(records[2:]), context))
    assert answer.heads == {}
    await home.come("c", 3)
    assert await rows(carl.store) == await rows(bob.store)


async def test_who_pulled_says_so_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "FAR_RECORDS", 0)  # nothing is pushed
    ana, _ = await home.add("a"), await home.add("b")
    records = await say(ana, 1)
    home.gossip()
    assert (await ana.replicator.confirm(records)).copies == 2  # without a further word of gossip


async def test_what_is_being_pushed_is_not_pulled_beside(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "PUSHING_S", 3600.0)
    ana, _ = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 0))
    for number in range(1, 20):
        records = await say(ana, number)
        home.gossip()  # the mark is there before the push
        await ana.replicator.confirm(records)
    assert calls.RECORDS.name not in ana.asked


async def test_a_record_that_came_by_a_third_node_counts_as_a_copy_there(home: Home) -> None:
    ana, bob, carl = [await home.add(letter, copies=3) for letter in "abc"]
    home.part("a", "c")
    home.gossip()
    records = await say(ana, 1)
    await home.settle()
    home.heal()
    home.gossip()
    assert (await ana.replicator.confirm(records)).copies == 3
    assert await rows(carl.store) == await rows(bob.store)


async def test_what_is_forgotten_is_not_pushed_with_its_text(home: Home) -> None:
    ana = await home.add("a")
    await say(ana, 1)
    await ana.store.forget(memory_key("0001"))
    given = await ana.replicator.pusher.after(ana.store.origin, 0)
    assert [each.kind for each in given] == ["memory", "tombstone"]
    assert len(given[0].body) == 32


async def test_both_sides_of_a_split_have_everything_after_it(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.part("a", "b")
    home.gossip()
    await say(ana, *range(700))
    await say(bob, *range(700, 1400))
    home.heal()
    await home.settle()
    assert await rows(ana.store) == await rows(bob.store)
    assert len(await texts(ana.store)) == 1400


async def test_no_more_than_two_nodes_are_given_records_at_a_time(home: Home) -> None:
    ana = await home.add("a")
    await say(ana, *range(3))
    open_ones = [ana.replicator.records(RecordsRequest({}), SERVED) for _ in range(3)]
    for each in open_ones[:2]:
        await anext(each)
    with pytest.raises(Overloaded):
        await anext(open_ones[2])
    await open_ones[0].aclose()
    assert len((await anext(ana.replicator.records(RecordsRequest({}), SERVED))).records) == 3
    for each in open_ones:
        await each.aclose()


async def test_who_was_told_to_come_again_does(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "FAR_RECORDS", 0)  # nothing is pushed
    ana = await home.add("a")
    await say(ana, *range(3))
    busy = [ana.replicator.records(RecordsRequest({}), SERVED) for _ in range(2)]
    for each in busy:
        await anext(each)
    ana.handlers.pop(calls.PUSH.name)
    bob = await home.add("b")
    home.gossip()
    async with asyncio.timeout(30):
        await ana.was_asked.wait()
    assert await texts(bob.store) == []
    for each in busy:
        await each.aclose()
    await home.come("b", 3)  # without a further word of gossip
    assert await rows(ana.store) == await rows(bob.store)


async def test_a_push_of_too_many_records_is_refused(home: Home) -> None:
    ana = await home.add("a")
    record = (await say(ana, 1))[0]
    with pytest.raises(InvalidInput, match="records"):
        await anext(ana.replicator.push(PushRequest([record] * (pushing.MAX_RECORDS + 1)), SERVED))


# --- disks that were set back, and clones ---------------------------------------------------------------------------


async def test_a_copy_at_a_node_that_was_thrown_out_does_not_count(home: Home) -> None:
    ana, _ = await home.add("a"), await home.add("b")
    home.gossip()
    records = await say(ana, 1)
    await ana.replicator.confirm(records)
    ana.membership.change(lambda member: msgspec.structs.replace(member, state=State.REVOKED))
    assert (await ana.replicator.confirm(records)).copies == 1


async def test_a_node_whose_disk_was_set_back_loses_nothing_that_anybody_has(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 1, 2))
    image = shutil.copy(await home.remove("a"), home.folder / "image")
    ana = await home.add("a")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 3, 4, 5))
    shutil.copy(image, await home.remove("a"))
    ana = await home.add("a")
    old = ana.store.origin
    await say(ana, 6, 7)  # before it heard of anybody: on numbers that others know as 3 and 4
    await home.settle()
    await say(ana, 8)
    await home.settle()
    assert ana.store.origin != old
    assert await texts(ana.store) == await texts(bob.store) == [f"000{n}" for n in range(1, 9)]
    assert await rows(ana.store) == await rows(bob.store)
    notes = [node.replicator.note() for node in (ana, bob)]
    assert any("two branches" in note for note in notes)
    for node in (ana, bob):
        assert [origin for origin in node.store.heads() if is_branch(origin)] != []


async def test_what_a_set_back_node_writes_first_is_not_called_safe_because_others_know_more(home: Home) -> None:
    ana, _ = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 1))
    image = shutil.copy(await home.remove("a"), home.folder / "image")
    ana = await home.add("a")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 2, 3))
    shutil.copy(image, await home.remove("a"))
    ana = await home.add("a", copies_wait_ms=0)
    records = await say(ana, 4)
    await ana.replicator.holders.heard(home.nodes["b"].id, home.nodes["b"].store.heads())
    assert (await ana.replicator.confirm(records)).copies == 1


@pytest.mark.parametrize("first", ["a", "b"])
async def test_a_fork_that_one_side_sees_is_settled_at_both(home: Home, first: str) -> None:
    nodes = {letter: await home.add(letter) for letter in "ab"}
    home.gossip()
    await home.settle()
    one = make("c.1", EMPTY, 1, "note", "note/1", b"one")
    other = make("c.1", EMPTY, 1, "note", "note/2", b"other")
    lesser, greater = sorted((one, other), key=lambda record: record.sha)
    await nodes["a"].store.apply([lesser])
    await nodes["b"].store.apply([greater])
    second = "b" if first == "a" else "a"
    nodes[first].replicator.mender.suspect(nodes[second].id, ["c.1"])
    await home.come("a", 2)  # without a further word of gossip
    await home.come("b", 2)
    assert await rows(nodes["a"].store) == await rows(nodes["b"].store)


async def test_two_nodes_that_write_under_one_origin_lose_nothing_and_part(home: Home) -> None:
    ana, bob = await home.add("a"), await home.add("b")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 1))
    image = shutil.copy(await home.remove("a"), home.folder / "image")
    ana = await home.add("a")
    home.gossip()
    await ana.replicator.confirm(await say(ana, 2, 3))
    await home.remove("a")
    clone = shutil.move(home.folder / "a.db", home.folder / "clone")
    shutil.copy(image, home.folder / "a.db")
    other = await home.add("a")  # the same disk at another PC
    carl = await home.add("c")
    home.part("a", "b")
    home.part("b", "c")
    await say(other, 4, 5, 6)
    await home.settle("a", "c")
    home.heal()
    await home.settle()
    await home.remove("a")
    shutil.move(clone, home.folder / "a.db")
    again = await home.add("a")  # and the first PC comes back
    await say(again, 7)
    await home.settle()
    assert await texts(again.store) == [f"000{n}" for n in range(1, 8)]
    assert await rows(again.store) == await rows(bob.store) == await rows(carl.store)


async def test_a_branch_that_gave_way_and_is_given_again_gives_way_again(home: Home) -> None:
    one, other = await home.add("a"), await home.add("c")
    branches = [[make("o.1", EMPTY, 10, "note", "note/x", text)] for text in (b"one", b"other")]
    greater, lesser = sorted(branches, key=lambda branch: branch[0].sha, reverse=True)
    home.gossip()
    await home.settle()
    await one.store.apply(greater)
    await other.store.apply(lesser)
    mender = one.replicator.mender
    moved = asyncio.Event()
    pull, mender._moved = mender._moved, lambda node: moved.set()
    mender.suspect(other.id, ["o.1"])
    async with asyncio.timeout(10):
        await moved.wait()
    mender._moved = pull
    await one.store.apply(greater)  # a third node has not given way yet
    await home.settle(within_s=10)
    assert one.store.heads()["o.1"] == (1, lesser[0].sha)
