"""Two branches of one origin: the same settlement wherever it is made, with every text kept."""

from __future__ import annotations

import asyncio

from memory_help import ANA, BOB, OpenStore, passage

from tarsd.calls import Record
from tarsd.memory.bodies import SummaryBody, TombstoneBody
from tarsd.memory.log import (
    EMPTY,
    MAX_NAME_CHARS,
    Head,
    branch_name,
    erase,
    fault,
    is_erased,
    keeps_name,
    link,
    make,
    reseal,
)
from tarsd.memory.store import Store
from tarsd.wire import encode

ORIGIN = f"{ANA}.1"


def chain(texts: list[str], after: list[Record] | None = None, hlc: int = 10) -> list[Record]:
    records = list(after or ())
    for text in texts:
        head = Head(records[-1].seq, records[-1].sha) if records else EMPTY
        body = f"text {text}".encode()
        records.append(make(ORIGIN, head, hlc + len(records), "note", f"note/{text}", body))
    return records


async def log_of(store: Store) -> list[tuple[object, ...]]:
    database = store._database
    async with database.reading():
        return await database.rows("SELECT origin, seq, hlc, key, body, prev_sha, sha FROM log ORDER BY origin, seq")


def test_a_resealed_branch_is_a_sound_chain_with_the_same_times_and_texts() -> None:
    branch = chain(["a", "b", "c"])[1:]
    again = reseal(branch, "other.1")
    assert link(EMPTY, again, {}).accepted == again
    assert [fault(record) for record in again] == ["", ""]
    assert [(each.hlc, each.key, each.body) for each in again] == [(each.hlc, each.key, each.body) for each in branch]
    assert {each.origin for each in again} == {"other.1"}


def test_an_erased_record_is_resealed_as_it_would_be_whole() -> None:
    branch = chain(["a", "b"])
    whole, erased = reseal(branch, "o.1"), reseal([erase(branch[0]), branch[1]], "o.1")
    assert is_erased(erased[0])
    assert [each.sha for each in whole] == [each.sha for each in erased]


def test_the_name_of_a_branch_is_made_of_its_seal_and_stays_within_bounds() -> None:
    assert branch_name("o.1", b"\xab" * 32) == "o.1~abababababab"
    assert len(branch_name("x" * MAX_NAME_CHARS, bytes(32))) == MAX_NAME_CHARS


def test_one_of_two_branches_keeps_the_name_at_either_side() -> None:
    assert keeps_name(b"a", b"b")
    assert not keeps_name(b"b", b"a")


def greater_and_lesser(common: list[Record]) -> tuple[list[Record], list[Record]]:
    """Return two branches after `common`; the second one keeps the name."""
    one, other = chain(["x", "y"], common), chain(["v", "w", "z"], common)
    first = len(common)
    return (one, other) if one[first].sha > other[first].sha else (other, one)


async def test_the_branch_that_gives_way_is_whole_under_its_new_name_and_the_other_one_fits(
    open_store: OpenStore,
) -> None:
    store = await open_store("bob", BOB)
    common = chain(["a", "b"])
    loser, winner = greater_and_lesser(common)
    await store.apply(loser)
    moved = await store.give_way(ORIGIN, 2, winner[2].sha)
    assert moved == len(loser) - 2
    assert store.heads()[ORIGIN] == (2, common[1].sha)
    assert (await store.apply(winner)).quarantined == []
    name = branch_name(ORIGIN, loser[2].sha)
    under = await store.records_since({}, only=name)
    assert [(each.key, each.body, each.hlc) for each in under] == [(e.key, e.body, e.hlc) for e in loser[2:]]
    problems = await store.integrity_check()
    assert [line for line in problems if "two branches" not in line] == []
    assert problems


async def test_the_branch_that_stays_is_left_as_it_is_and_the_fork_is_noted(open_store: OpenStore) -> None:
    store = await open_store("bob", BOB)
    loser, winner = greater_and_lesser(chain(["a"]))
    await store.apply(winner)
    await store.apply(loser)  # refused, before anybody knows why
    before = await log_of(store)
    assert await store.give_way(ORIGIN, 1, loser[1].sha) == 0
    assert await log_of(store) == before
    assert any("two branches" in note for note in await store.quarantine_notes())


async def test_two_branches_of_the_same_length_have_different_marks(open_store: OpenStore) -> None:
    bob, carl = await open_store("bob", BOB), await open_store("carl", ANA)
    common = chain(["a"])
    await bob.apply(chain(["x"], common))
    await carl.apply(chain(["y"], common))
    assert await bob.vector() == await carl.vector()
    assert bob.mark() != carl.mark()


async def test_what_is_no_fork_is_left_alone(open_store: OpenStore) -> None:
    store = await open_store("bob", BOB)
    records = chain(["a", "b"])
    await store.apply(records)
    assert await store.give_way(ORIGIN, 1, records[1].sha) == 0
    assert await store.give_way(ORIGIN, 2, b"x" * 32) == 0
    assert await store.give_way("nobody.1", 0, b"x" * 32) == 0
    assert await store.integrity_check() == []


async def test_two_nodes_with_the_same_branch_make_the_same_records_of_it(open_store: OpenStore) -> None:
    bob, carl = await open_store("bob", BOB), await open_store("carl", ANA)
    loser, winner = greater_and_lesser(chain(["a"]))
    await bob.apply(loser)
    await carl.apply(loser[:2])  # it has only the beginning
    for store in (bob, carl):
        await store.give_way(ORIGIN, 1, winner[1].sha)
        await store.apply(winner)
    assert (await carl.apply(await bob.records_since(await carl.vector()))).quarantined == []
    assert await log_of(bob) == await log_of(carl)


async def test_a_branch_that_is_there_already_is_not_written_twice(open_store: OpenStore) -> None:
    bob, carl = await open_store("bob", BOB), await open_store("carl", ANA)
    loser, winner = greater_and_lesser(chain(["a"]))
    for store in (bob, carl):
        await store.apply(loser)
    await bob.give_way(ORIGIN, 1, winner[1].sha)
    await carl.apply(await bob.records_since({}, only=branch_name(ORIGIN, loser[1].sha)))
    assert await carl.give_way(ORIGIN, 1, winner[1].sha) == len(loser) - 1
    assert await log_of(bob) == await log_of(carl)
    assert [line for line in await carl.integrity_check() if "two branches" not in line] == []


async def test_a_parting_within_a_branch_that_gave_way_keeps_both_texts(open_store: OpenStore) -> None:
    bob = await open_store("bob", BOB)
    loser, winner = greater_and_lesser(chain(["a"]))
    twig = chain(["q"], loser[:2])  # parts from the losing branch after its first record
    await bob.apply(loser)
    await bob.give_way(ORIGIN, 1, winner[1].sha)
    await bob.apply(twig)
    await bob.give_way(ORIGIN, 1, winner[1].sha)
    await bob.apply(winner)
    bodies = {row[4] for row in await log_of(bob)}
    assert bodies == {record.body for record in (*loser, *winner, *twig)}
    assert [line for line in await bob.integrity_check() if "branches" not in line and "quarantine" not in line] == []


async def test_who_wrote_the_origin_leaves_it_whichever_branch_stays(open_store: OpenStore) -> None:
    for name in ("one", "other"):
        ana = await open_store(name)
        mine = await ana.append("note", "note/1", b"x")
        theirs = bytes(32) if name == "one" else b"\xff" * 32
        await ana.give_way(mine.origin, 0, theirs)
        assert ana.origin != mine.origin
        later = await ana.append("note", "note/2", b"y")
        assert (later.origin, later.seq) == (ana.origin, 1)


async def test_local_numbers_and_so_the_vectors_stay_with_their_texts(open_store: OpenStore) -> None:
    ana = await open_store("ana")
    record = await ana.append("passage", "", passage("the boiler"))
    database = ana._database
    async with database.reading():
        before = await database.rows("SELECT id, key FROM log")
    await ana.give_way(record.origin, 0, bytes(32))
    async with database.reading():
        assert await database.rows("SELECT id, key FROM log") == before
        assert await database.rows("SELECT id, key FROM visible") == before
    assert await ana.integrity_check() != []


async def test_the_later_text_of_a_key_is_shown_whatever_name_it_came_to_have(open_store: OpenStore) -> None:
    ana = await open_store("ana", clock=lambda: 100.0)
    record = await ana.append("summary", "", SummaryBody("s", "Title", "earlier"))
    bob = await open_store("bob", BOB, clock=lambda: 200.0)
    later = await bob.append("summary", "", SummaryBody("s", "Title", "later"))
    await ana.apply([later])
    await ana.give_way(record.origin, 0, bytes(32))
    assert [each.text for each in await ana.summaries()] == ["later"]


async def test_who_is_being_given_a_branch_that_gives_way_meanwhile_is_answered(open_store: OpenStore) -> None:
    """The head was read before; the rows that it names are gone. It was asked for them for ever."""
    store = await open_store("bob", BOB)
    common = chain(["a", "b"])
    loser, winner = greater_and_lesser(common)
    await store.apply(loser)
    old = dict(store._writer.heads)
    await store.give_way(ORIGIN, 2, winner[2].sha)
    store._writer.heads.update(old)  # as the reader has it that began before
    async with asyncio.timeout(30):
        assert await store.records_since({ORIGIN: 2}, only=ORIGIN) == []


async def test_a_tombstone_covers_the_same_whichever_of_two_branches_it_is_on(open_store: OpenStore) -> None:
    common = chain(["a"])
    head = Head(common[-1].seq, common[-1].sha)
    forgets = make(ORIGIN, head, 50, "tombstone", "note/x", encode(TombstoneBody(1.0)))
    for number in range(6):  # the clones' clocks stand at the same time; now one of them keeps the name, now the other
        tells = make(ORIGIN, head, 50, "note", "note/x", b"text %d" % number)
        one, other = await open_store(f"one{number}", ANA), await open_store(f"other{number}", BOB)
        await one.apply([*common, forgets])
        await other.apply([*common, tells])
        await one.give_way(ORIGIN, 1, tells.sha)
        await other.give_way(ORIGIN, 1, forgets.sha)
        for _ in range(2):
            await one.apply(await other.records_since(await one.vector()))
            await other.apply(await one.records_since(await other.vector()))
        assert one.mark() == other.mark()
        assert await log_of(one) == await log_of(other)
        assert b"text %d" % number not in [row[4] for row in await log_of(one)]
