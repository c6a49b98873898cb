"""The cluster's part of the compaction, and undoing it, on a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import SummarizeItem, UndoItem, UndoRequest, Who
from tarsd.errors import NotAllowed, NotFound, Overloaded
from tarsd.gossip.member import Load
from tarsd.memory.bodies import DiaryChange, MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.recollections import EVERYTHING, Filter
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.roles import compacting
from tarsd.roles.compacting import Compacting
from tarsd.roles.diary import Diary
from tarsd.roles.journal import Journal
from tests.dispatch.test_dispatch import ScriptedClient
from tests.roles.night_help import ENTRY, ScriptedNight
from tests.roles.role_help import ME, one, services
from tests.test_routing import member

ADMIN = Who("", sees_all=True)
DAY_S = 86_400.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "memory.db", ME)
    yield opened
    await opened.close()


class Killed(BaseException):
    """The node was killed here."""


def memory(name: str, text: str, **fields: Any) -> MemoryBody:
    return MemoryBody(name, text, language="en", salt=name.encode(), **fields)


BOILER = (
    memory("a", "The boiler is serviced every May.", made_at=1.0),
    memory("b", "Every May the boiler is serviced", made_at=2.0, tags=["home"]),
    memory("c", "The boiler is serviced every June.", made_at=3.0),
)


async def write(store: Store, *bodies: MemoryBody | SummaryBody | ProjectBody) -> None:
    kinds = {MemoryBody: "memory", SummaryBody: "summary", ProjectBody: "project"}
    await store.append_many([(kinds[type(body)], "", body) for body in bodies])


async def current(store: Store, kind: str = "memory") -> dict[str, str]:
    page = await store.memories(EVERYTHING, Filter(kinds=(kind,)), limit=100)
    return {kept.key: kept.body.text for kept in page.kept}


async def compact(store: Store, night: ScriptedNight | None = None, members: tuple[Any, ...] = ()) -> str:
    role = Compacting(services(store, None, members))
    return (await role.merge_memories(night or ScriptedNight(Journal(store, "pc1")))).detail


async def undo(store: Store, who: Who = ADMIN, entry: str = ENTRY) -> UndoItem:
    role = Diary(services(store, None, []), Journal(store, "pc1"))
    item: UndoItem = await one(role.handlers()[calls.UNDO.name], UndoRequest(who, entry))
    return item


async def test_what_says_the_same_becomes_one_and_nothing_is_lost(store: Store) -> None:
    await write(store, *BOILER)
    assert await compact(store) == "2 memories merged into 1"
    now = await current(store)
    assert sorted(now.values()) == ["Every May the boiler is serviced", "The boiler is serviced every June."]
    (key,) = [key for key in now if key.startswith("memory/merged-")]
    made, old = await store.memory(key), await store.memory("memory/a")
    assert made is not None
    assert old is not None
    assert (made.sources[0].keys, made.made_by, made.tags) == (["memory/a", "memory/b"], "nightly", ["home"])
    assert (old.replaced_by, old.replaced_why, old.text) == (key, "merged", BOILER[0].text)


async def test_a_second_night_finds_nothing_to_do(store: Store) -> None:
    await write(store, *BOILER)
    night = ScriptedNight(Journal(store, "pc1"))
    await compact(store, night)
    before = store.mark()
    assert await compact(store, night) == "no memory twice"
    night.cursor = ""  # even one that looks at all of it again
    assert await compact(store, night) == "no memory twice"
    assert store.mark() == before


async def test_two_nodes_that_both_do_it_write_the_same(store: Store, tmp_path: Path) -> None:
    other = await Store.open(tmp_path / "other.db", NodeId("n" * 32))
    try:
        await write(store, *BOILER)
        await other.apply(await store.records_since({}))
        await compact(store)
        await compact(other)
        assert await current(store) == await current(other)
        await other.apply(await store.records_since(await other.vector()))
        await store.apply(await other.records_since(await store.vector()))
        assert await current(store) == await current(other)
        assert len(await current(store)) == 2
    finally:
        await other.close()


async def test_only_the_node_that_is_named_does_it(store: Store) -> None:
    await write(store, *BOILER)
    me = member("m", node=ME, is_self=True, capabilities={calls.NIGHTLY.name: {}})
    other = member("p", capabilities={calls.NIGHTLY.name: {}})
    told = set()
    for day in range(1, 30):
        night = ScriptedNight(Journal(store, "m"))
        night.cluster_key = f"compact_memory 2026-05-{day:02}"
        told.add(await compact(store, night, (me, other)))
    assert told == {"memories: left to p", "2 memories merged into 1", "no memory twice"}


async def test_a_person_who_asks_is_not_sent_elsewhere(store: Store) -> None:
    await write(store, *BOILER)
    night = ScriptedNight(Journal(store, "m"), is_asked_for=True)
    assert await compact(store, night, (member("p", capabilities={calls.NIGHTLY.name: {}}),)) != "memories: left to p"


async def test_a_killed_night_goes_on_and_is_undone_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between what was intended and what was written, and again before the diary knew of it."""
    monkeypatch.setattr(compacting, "STEP", 2)
    await write(store, *BOILER, memory("d", "The boiler is serviced every June", made_at=4.0))
    journal, texts = Journal(store, "pc1"), await current(store)

    class DiesAfterIntending(ScriptedNight):
        async def intend(self, changes: Any) -> None:
            await super().intend(changes)
            raise Killed

    class DiesBeforeTheDiaryKnows(ScriptedNight):
        async def did(self) -> None:
            raise Killed

    cursor = ""
    for kind in (DiesAfterIntending, DiesBeforeTheDiaryKnows):
        night = kind(journal)
        night.cursor = cursor
        with pytest.raises(Killed):
            await compact(store, night)
        cursor = night.cursor
    last = ScriptedNight(journal)
    last.cursor = cursor
    await compact(store, last)
    assert len(await current(store)) == 2
    item = await undo(store)
    assert item.kept == []
    assert await current(store) == texts


async def test_what_was_undone_is_not_done_again(store: Store) -> None:
    await write(store, *BOILER)
    await compact(store)
    item = await undo(store)
    assert (len(item.restored), item.kept, item.entry.undone_at > 0) == (3, [], True)
    assert await compact(store) == "no memory twice"
    assert len(await current(store)) == 3


async def test_undoing_twice_does_nothing(store: Store) -> None:
    await write(store, *BOILER)
    await compact(store)
    await undo(store)
    mark = store.mark()
    assert (await undo(store)).restored == []
    assert store.mark() == mark


async def test_what_a_person_changed_since_is_kept(store: Store) -> None:
    await write(store, *BOILER)
    await compact(store)
    (key,) = [key for key in await current(store) if key.startswith("memory/merged-")]
    made = await store.memory(key)
    assert made is not None
    changed = memory(made.id, "The boiler is serviced every April.")
    await write(store, changed)
    item = await undo(store)
    assert (item.restored, sorted(item.kept)) == ([], sorted(["memory/a", "memory/b", key]))
    assert (await current(store))[key] == changed.text


async def test_what_was_forgotten_since_does_not_come_back(store: Store) -> None:
    await write(store, *BOILER)
    await compact(store)
    await store.forget("memory/a")
    item = await undo(store)
    assert item.kept == ["memory/a"]
    assert await store.memory("memory/a") is None
    assert "memory/b" in await current(store)


async def test_a_memory_that_is_forgotten_while_it_is_compared_does_not_come_back(store: Store) -> None:
    await write(store, *BOILER, memory("d", "Every June the boiler is serviced.", made_at=4.0))

    class ForgetsMeanwhile(ScriptedNight):
        async def intend(self, changes: Any) -> None:
            await super().intend(changes)
            if "memory/a" in [change.key for change in changes]:
                await store.forget("memory/a")

    await compact(store, ForgetsMeanwhile(Journal(store, "pc1")))
    assert await store.memory("memory/a") is None
    assert not any("memory/a" in key for key in await current(store))
    assert BOILER[0].text not in (await current(store)).values()
    assert "memory/b" in await current(store)
    assert "memory/c" not in await current(store)  # what can be made one still is


async def test_a_memory_that_is_changed_while_it_is_compared_is_no_change_of_the_night(store: Store) -> None:
    await write(store, *BOILER, memory("d", "Every June the boiler is serviced.", made_at=4.0))
    changed = memory("a", "The boiler was sold.", made_at=9.0)

    async def search(headers: calls.Headers) -> Any:
        if await store.memory("memory/a") == BOILER[0]:
            await write(store, changed)
        yield calls.SearchMemoriesItem([])

    client = ScriptedClient({member("p").node: search})
    role = Compacting(services(store, client, [member("p", capabilities={calls.SEARCH_MEMORIES.name: {}})]))
    await role.merge_memories(ScriptedNight(Journal(store, "pc1")))
    entry = await store.diary_entry(ENTRY)
    assert entry is not None
    assert "memory/a" not in [change.key for change in entry.changes]
    await undo(store)
    assert await store.memory("memory/a") == changed


async def test_a_memory_that_is_forgotten_while_it_is_undone_does_not_come_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(store, *BOILER)
    await compact(store)
    plain = store.append_as_read

    async def forgotten_first(entries: Any, read: Any) -> Any:
        await store.forget("memory/a")
        return await plain(entries, read)

    monkeypatch.setattr(store, "append_as_read", forgotten_first)
    with pytest.raises(Overloaded):
        await undo(store)
    assert await store.memory("memory/a") is None


async def test_only_who_may_see_all_of_it_may_undo(store: Store) -> None:
    await write(store, *(memory(b.id, b.text, scope="person", person="ana", made_at=b.made_at) for b in BOILER))
    await compact(store)
    with pytest.raises(NotAllowed):
        await undo(store, Who("luis"))
    assert len((await undo(store, Who("ana"))).restored) == 3


async def diary(store: Store, who: Who) -> calls.DiaryEntry:
    role = Diary(services(store, None, []), Journal(store, "pc1"))
    item: calls.DiaryItem = await one(role.handlers()[calls.DIARY.name], calls.DiaryRequest(who))
    (entry,) = item.entries
    return entry


async def test_what_a_night_changed_of_one_person_is_told_to_that_person_and_an_administrator(store: Store) -> None:
    await write(store, *(memory(b.id, b.text, scope="person", person="ana", made_at=b.made_at) for b in BOILER))
    await compact(store)
    await Journal(store, "pc1").close(ENTRY, "compact_memory", 1.0, 2.0, "2 memories merged into 1", ok=True)
    for who in (Who("ana"), ADMIN):
        entry = await diary(store, who)
        assert (entry.what, entry.changes, len(entry.keys)) == ("2 memories merged into 1", 3, 3)
    for who in (Who("luis"), Who()):
        entry = await diary(store, who)
        assert (entry.job, entry.ok) == ("compact_memory", True)
        assert (entry.what, entry.changes, entry.keys) == ("0 changed of what you may see", 0, [])
    for key in [f"memory/{b.id}" for b in BOILER]:
        await store.forget(key)
    assert (await diary(store, Who("luis"))).keys == []


async def test_an_unknown_entry_is_told(store: Store) -> None:
    with pytest.raises(NotFound):
        await undo(store, entry="nothing")


# --- summaries --------------------------------------------------------------------------------------------------------


def summary(name: str, text: str, ended_at: float = 1.0, **fields: Any) -> SummaryBody:
    return SummaryBody(
        name, f"Talk {name}", text, language="en", project="kitchen", conversation=name, ended_at=ended_at, **fields
    )


TALKS = (
    summary("x", "Ana chose oak worktops. They cost 1,250 euros.", 1.0),
    summary("y", "The plumber Ruiz comes on 4 May.", 2.0),
)


def written(text: str) -> ScriptedClient:
    async def script(headers: calls.Headers) -> Any:
        yield SummarizeItem(text)

    return ScriptedClient({member("p").node: script})


async def synthesise(store: Store, client: Any = None, *, now: float = 10 * DAY_S) -> str:
    members = [member("p", capabilities={calls.SUMMARIZE.name: {}})] if client else []
    role = Compacting(services(store, client, members), clock=lambda: now)
    return (await role.synthesise(ScriptedNight(Journal(store, "pc1")))).detail


async def test_ended_conversations_become_one_summary_of_their_project(store: Store) -> None:
    await write(store, ProjectBody("kitchen", "New kitchen"), *TALKS)
    assert await synthesise(store) == "2 summaries became 1"
    ((key, text),) = (await current(store, "summary")).items()
    for fact in ("Ana", "1,250", "Ruiz", "4 May"):
        assert fact in text
    made = await store.summary(key)
    assert made is not None
    assert (made.title, made.project, made.sources[0].keys) == ("New kitchen", "kitchen", ["summary/x", "summary/y"])
    await undo(store)
    assert sorted(await current(store, "summary")) == ["summary/x", "summary/y"]
    assert await synthesise(store) == "no summary to take together"


async def test_facts_that_a_model_lost_are_added(store: Store) -> None:
    await write(store, *TALKS)
    await synthesise(store, written("Oak worktops were chosen; a plumber comes."))
    (text,) = (await current(store, "summary")).values()
    assert text.startswith("Oak worktops were chosen; a plumber comes.")
    assert "1,250 euros" in text
    assert "Ruiz comes on 4 May" in text


async def test_a_conversation_of_today_is_left_alone(store: Store) -> None:
    await write(store, *TALKS)
    assert await synthesise(store, now=DAY_S) == "no summary to take together"


async def test_a_summary_that_was_forgotten_while_the_model_wrote_does_not_come_back(store: Store) -> None:
    await write(store, *TALKS)

    async def forgets(headers: calls.Headers) -> Any:
        await store.forget("summary/x")
        yield SummarizeItem("Ana chose oak worktops.")

    await synthesise(store, ScriptedClient({member("p").node: forgets}))
    assert await current(store, "summary") == {"summary/y": TALKS[1].text}


async def test_no_chain_over_several_nights_leads_from_one_person_to_another(store: Store) -> None:
    night = ScriptedNight(Journal(store, "pc1"))
    for number, text in enumerate(("My doctor is Ruiz", "The doctor is Ruiz", "Her doctor is Ruiz")):
        await write(store, memory(str(number), text, made_at=float(number)))
        await compact(store, night)
    assert sorted((await current(store)).values()) == ["Her doctor is Ruiz", "The doctor is Ruiz"]


async def test_one_that_a_person_changed_since_is_kept_and_the_others_come_back(store: Store) -> None:
    await write(store, *BOILER)
    await compact(store)
    await write(store, memory("a", "The boiler was sold.", made_at=9.0))
    item = await undo(store)
    assert item.kept == ["memory/a"]
    now = await current(store)
    assert (now["memory/a"], now["memory/b"]) == ("The boiler was sold.", BOILER[1].text)


async def test_what_a_person_changed_after_a_kill_is_no_change_of_the_night(store: Store) -> None:
    """Killed between what was intended and what was written: the entry is filled in from what is visible later."""
    await write(store, *BOILER)

    class Dies(ScriptedNight):
        async def intend(self, changes: Any) -> None:
            await super().intend(changes)
            raise Killed

    with pytest.raises(Killed):
        await compact(store, Dies(Journal(store, "pc1")))
    changed = memory("a", "The boiler was sold.", made_at=9.0)
    await write(store, changed)
    await undo(store)
    assert await store.memory("memory/a") == changed


async def test_what_was_intended_and_never_done_is_not_in_the_diary(store: Store) -> None:
    await write(store, *BOILER)
    journal = Journal(store, "pc1")
    record = (await store.shown(["memory/a"]))["memory/a"].record
    await journal.intend(ENTRY, "compact_memory", 1.0, [DiaryChange("memory/a", record), DiaryChange("memory/new")])
    await journal.did(ENTRY)
    await journal.close(ENTRY, "compact_memory", 1.0, 2.0, "nothing came of it", ok=True)
    (entry,) = await store.diary(5)
    assert (entry.changes, entry.what) == ([], "nothing came of it")


async def test_many_changes_are_several_entries(store: Store) -> None:
    journal = Journal(store, "pc1")
    for number in range(3):
        keys = [f"memory/{number}-{each}" for each in range(200)]
        await journal.intend(ENTRY, "compact_memory", 1.0, [DiaryChange(key, "r:1", "r:2") for key in keys])
    await journal.close(ENTRY, "compact_memory", 1.0, 2.0, "much", ok=True)
    assert {entry.id: len(entry.changes) for entry in await store.diary(5)} == {ENTRY: 400, f"{ENTRY}-2": 200}


def test_people_are_busy_here_or_at_all_who_could_write() -> None:
    asked, idle = Load(queued=1), Load()
    writer = {calls.SUMMARIZE.name: {}}
    me = member("m", is_self=True, load=idle)
    one_writer, other_writer = (member(name, capabilities=writer, load=asked) for name in "pq")
    free_writer = member("r", capabilities=writer, load=idle)
    bystander = member("s", load=asked)
    assert not compacting.are_people_busy([me, bystander])
    assert compacting.are_people_busy([member("m", is_self=True, load=Load(running=1)), free_writer])
    assert compacting.are_people_busy([me, one_writer, other_writer])
    assert not compacting.are_people_busy([me, one_writer, free_writer])
    assert not compacting.are_people_busy([member("m", is_self=True, load=None)])
