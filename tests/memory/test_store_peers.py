from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from memory_help import ANA, BOB, OpenStore, add_document, passage, sha
from msgspec.structs import replace

from tarsd.calls import Record
from tarsd.memory.bodies import SummaryBody, document_key
from tarsd.memory.derive import BATCH_RECORDS
from tarsd.memory.hlc import DRIFT_MS, milliseconds, stamp
from tarsd.memory.ledger import MAX_QUARANTINED
from tarsd.memory.log import EMPTY, Head, make
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.wire import encode

CARL = NodeId("c" * 32)


async def everything(store: Store) -> list[Record]:
    records: list[Record] = []
    while batch := await store.records_since({each.origin: each.seq for each in records}, 50):
        records += batch
    return records


async def state(store: Store) -> dict[str, object]:
    """All that a person or peer can tell two stores apart by; local ids are nobody's business."""
    database = store._database
    async with database.reading():
        visible = await database.rows(
            "SELECT visible.key, log.sha, log.state FROM visible JOIN log USING (id) ORDER BY visible.key"
        )
        log = await database.rows("SELECT origin, seq, sha, state, body FROM log ORDER BY origin, seq")
        indexed = await database.rows(
            "SELECT log.key, stems FROM keywords JOIN log ON log.id = keywords.rowid ORDER BY log.key"
        )
        waiting = await database.rows("SELECT origin, seq FROM waiting")
    documents = sorted((each.body.file, each.passages_here) for each in await store.documents())
    return {"visible": visible, "log": log, "indexed": indexed, "waiting": waiting, "documents": documents}


async def test_a_peer_that_takes_all_records_shows_the_same(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    ids = await add_document(ana, "boiler", ["The boiler", "its pressure"])
    result = await bob.apply(await everything(ana))
    assert (result.applied, result.quarantined, result.waiting) == (3, [], 0)
    assert await state(bob) == await state(ana)
    assert [identity for identity, _ in await bob.keyword_search("pressure", 5)] == [ids[1]]


async def test_applying_again_changes_nothing(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["a", "b"])
    records = await everything(ana)
    await bob.apply(records)
    before = await state(bob)
    result = await bob.apply([*records, *records])
    assert (result.applied, result.quarantined) == (0, [])
    assert await state(bob) == before


async def test_records_travel_on_through_a_third_node(open_store: OpenStore) -> None:
    ana, bob, carl = await open_store("ana"), await open_store("bob", BOB), await open_store("carl", CARL)
    await add_document(ana, "boiler", ["a"])
    await bob.apply(await everything(ana))
    await carl.apply(await everything(bob))
    assert await state(carl) == await state(ana)


async def test_more_than_one_batch_can_wait_for_one_record(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await ana.append_many([("note", f"note/{number}", b"x") for number in range(3 * BATCH_RECORDS)])
    first, *others = await everything(ana)
    assert (await bob.apply(others)).waiting == len(others)
    result = await bob.apply([first])
    assert (result.applied, result.waiting) == (3 * BATCH_RECORDS, 0)
    assert await bob.vector() == await ana.vector()


async def test_what_comes_early_waits_and_is_not_shown(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["a", "b"])
    one, two, three = await everything(ana)
    result = await bob.apply([three])
    assert (result.applied, result.waiting) == (0, 1)
    assert await bob.vector() == {}
    assert await bob.document_count() == 0
    await bob.close()
    again = await open_store("bob", BOB)
    assert (await again.apply([two])).waiting == 2
    assert (await again.apply([one])).applied == 3
    assert await state(again) == await state(ana)


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"\x80"},
        {"key": "note/other"},
        {"hlc": 1},
        {"prev_sha": b"1" * 32},
        {"kind": "note"},
        {"sha": b"1" * 32},
    ],
    ids=str,
)
async def test_a_tampered_record_is_quarantined_and_the_true_one_taken(
    open_store: OpenStore, change: dict[str, object]
) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["a", "b"])
    one, two, three = await everything(ana)
    result = await bob.apply([one, replace(two, **change), three])
    assert result.applied == 1
    assert [each.seq for each in result.quarantined] == [2]
    assert any("quarantine" in line for line in await bob.integrity_check())
    assert (await bob.apply([two, three])).quarantined == []
    assert await state(bob) == await state(ana)


async def test_a_resealed_forgery_cannot_be_slipped_under_a_chain(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["a", "b"])
    one, two, three = await everything(ana)
    forged = make(two.origin, Head(1, one.sha), two.hlc, two.kind, two.key, encode(passage("forged")))
    assert (await bob.apply([one, two])).applied == 2
    result = await bob.apply([forged, three])
    assert [each.reason for each in result.quarantined] == ["a second record with this number: a fork"]
    assert await state(bob) == await state(ana)


POISON = [
    {"kind": "passage", "body": b"\xc1"},
    {"kind": "passage", "body": b""},
    {"kind": "document", "body": encode({"sha256": sha("x"), "file": "x", "size_bytes": 2**63})},
    {"kind": "document", "body": encode({"sha256": sha("x"), "file": "x", "added_at": float("nan")})},
    {"kind": "summary", "body": encode([1, 2])},
    {"kind": "tombstone", "body": b"garbage"},
    {"kind": "from the future", "body": b"\xff\x00"},
]


@pytest.mark.parametrize("fields", POISON, ids=str)
async def test_a_sealed_record_with_a_poisoned_body_stops_nothing(
    open_store: OpenStore, fields: dict[str, object]
) -> None:
    bob, carl = await open_store("bob", BOB), await open_store("carl", CARL)
    bad = make("node.1", EMPTY, 5, key=document_key(sha("x")), **fields)  # type: ignore[arg-type]
    good = make("node.1", Head(1, bad.sha), 6, "summary", "summary/s", encode(SummaryBody("s", "Title", "Text")))
    assert (await bob.apply([bad, good])).applied == 2
    assert [each.id for each in await bob.summaries()] == ["s"]
    assert await bob.document_count() == 0
    await carl.apply(await everything(bob))  # it is passed on as it is
    assert await state(carl) == await state(bob)
    await bob.rebuild_derived()
    assert await state(carl) == await state(bob)


@pytest.mark.parametrize(
    "change",
    [{"seq": 2**64 - 1}, {"hlc": 2**64 - 1}, {"seq": -(2**63)}, {"origin": "x" * 10_000}, {"sha": bytes(10_000)}],
    ids=lambda change: next(iter(change)),
)
async def test_numbers_and_names_that_no_database_holds_are_refused(store: Store, change: dict[str, object]) -> None:
    record = replace(make("node.1", EMPTY, 5, "note", "note/1", b"x"), **change)
    assert (await store.apply([record])).applied == 0
    assert (await store.counts())["quarantined"] == 1


async def test_the_quarantine_is_bounded(store: Store) -> None:
    good = make("node.1", EMPTY, 5, "note", "note/1", b"x")
    bad = [replace(good, seq=number, sha=number.to_bytes(32, "big")) for number in range(1, MAX_QUARANTINED + 600)]
    await store.apply(bad)
    assert (await store.counts())["quarantined"] == MAX_QUARANTINED


async def test_the_later_of_two_wins_wherever_it_came_from(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana", clock=lambda: 100.0), await open_store("bob", BOB, clock=lambda: 50.0)
    await ana.append("summary", "", SummaryBody("roof", "Roof", "Ana's, later"))
    await bob.append("summary", "", SummaryBody("roof", "Roof", "Bob's, earlier"))
    from_ana, from_bob = await everything(ana), await everything(bob)
    await ana.apply(from_bob)
    await bob.apply(from_ana)
    assert [each.text for each in await bob.summaries()] == ["Ana's, later"]
    assert await state(ana) == await state(bob)
    # Bob's clock was passed by what he read: what he writes now is later, though his wall clock is behind.
    await bob.append("summary", "", SummaryBody("roof", "Roof", "Bob's, in reply"))
    await ana.apply(await everything(bob))
    assert [each.text for each in await ana.summaries()] == ["Bob's, in reply"]


async def test_a_record_from_the_far_future_is_taken_but_not_followed(open_store: OpenStore) -> None:
    store = await open_store(clock=lambda: 1000.0)
    ahead = stamp(1_000_000 + DRIFT_MS + 1000)
    result = await store.apply([make("node.1", EMPTY, ahead, "note", "note/1", b"x")])
    assert (result.applied, result.ahead) == (1, 1)
    assert milliseconds((await store.append("note", "note/2", b"y")).hlc) == 1_000_000


async def test_a_rolled_back_node_takes_its_own_records_back_and_goes_on_under_a_new_origin(
    open_store: OpenStore, tmp_path: Path
) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["a"])
    await ana.close()
    image = (tmp_path / "ana.db").read_bytes()
    ana = await open_store("ana")
    old_origin = ana.origin
    await add_document(ana, "prices", ["b"])
    await bob.apply(await everything(ana))
    await ana.close()
    (tmp_path / "ana.db").write_bytes(image)
    ana = await open_store("ana")
    assert ana.origin == old_origin
    assert (await ana.apply(await bob.records_since(await ana.vector()))).applied == 2
    assert ana.origin != old_origin
    assert ana.origin.startswith(ANA)
    await add_document(ana, "roof", ["c"])
    assert (await bob.apply(await ana.records_since(await bob.vector()))).quarantined == []
    assert await state(ana) == await state(bob)


async def test_a_stranger_cannot_make_a_node_change_its_origin(store: Store) -> None:
    await store.append("note", "note/1", b"x")
    origin = store.origin
    mine = (await everything(store))[0]
    await store.apply([replace(mine, seq=2, sha=b"1" * 32), mine])
    assert store.origin == origin


# --- the same set, in any order, gives the same state --------------------------------------------------------------

writes = st.lists(
    st.tuples(
        st.integers(0, 2),  # who
        st.sampled_from(["passage", "summary", "document", "forget", "sync"]),
        st.integers(0, 3),  # which
        st.integers(0, 5),  # what
    ),
    min_size=1,
    max_size=25,
)


async def history(nodes: list[Store], steps: list[tuple[int, str, int, int]]) -> list[Record]:
    """Let three nodes write and sometimes hear of each other; return all records that each of them has.

    A node that knows a tombstone passes records on erased, another one whole: both forms are among them.
    """
    for who, what, which, text in steps:
        store = nodes[who]
        match what:
            case "passage":
                await store.append("passage", "", passage(f"words {text} xyz", document=str(which), page=text % 2))
            case "summary":
                await store.append("summary", "", SummaryBody(f"s{which}", "Title", f"Text {text}"))
            case "document":
                await add_document(store, str(which), [f"text {text}"])
            case "forget" if await store.has_document(sha(str(which))):
                await store.forget_document(sha(str(which)))
            case "sync":
                await store.apply(await everything(nodes[(who + 1 + which % 2) % 3]))
    return [record for store in nodes for record in await everything(store)]


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink])
@given(steps=writes, seed=st.integers(0, 2**32), size=st.integers(1, 8))
async def test_the_same_records_in_any_order_give_the_same_state(
    steps: list[tuple[int, str, int, int]], seed: int, size: int
) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stores: list[Store] = []
        for name in "abcde":
            stores.append(await Store.open(folder / name, NodeId(name * 32), clock=lambda: 100.0))
            stack.push_async_callback(stores[-1].close)
        records = await history(stores[:3], steps)
        one, other = stores[3:]
        await one.apply(records)
        random.Random(seed).shuffle(records)
        for first in range(0, len(records), size):
            await other.apply(records[first : first + size])
            await other.apply(records[: first + 1])
        assert await state(one) == await state(other)
        assert (await state(one))["waiting"] == []
        assert await one.integrity_check() == await other.integrity_check() == []
