"""Out of one store and into another: whole, only what may be seen, nothing forgotten brought back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarsd import calls
from tarsd.api import memory_files
from tarsd.calls import Copies, Entry, ExportRequest, ImportRequest, Who
from tarsd.errors import InvalidInput
from tarsd.memory.bodies import MemoryBody, ProjectBody, Source, SummaryBody, key_of
from tarsd.memory.importing import Portable, without_salt
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.roles.moving import SALT_BYTES, Moving
from tarsd.wire import decode, encode
from tests.roles.role_help import ME, SERVED, one, services

ADMIN = Who(sees_all=True)
ANA, LUIS, NOBODY = Who("ana"), Who("luis"), Who("")
KITCHEN = ProjectBody("kitchen", "New kitchen", members=["ana"], person="ana", salt=b"p" * 16)
BODIES: list[Portable] = [
    KITCHEN,
    ProjectBody("garden", "Garden"),
    SummaryBody("s1", "Boiler", "It was serviced in March.", salt=b"s" * 16),
    SummaryBody("s2", "Tiles", "White ones.", scope="project", project="kitchen", person="ana"),
    MemoryBody("m1", "The bin goes out on Monday", salt=b"m" * 16),
    MemoryBody("m2", "Ana's shoe size is 38", scope="person", person="ana"),
    MemoryBody("m3", "Call me boss", sort="instruction", scope="person", person=""),
    MemoryBody("m4", "Oven 60 cm", scope="project", project="kitchen", person="ana"),
    MemoryBody("m5", "The bin goes out on Friday", replaced_by="memory/m1", replaced_why="contradicted"),
]
SEEN = {
    ADMIN: {"kitchen", "garden", "s1", "s2", "m1", "m2", "m3", "m4", "m5"},
    ANA: {"kitchen", "garden", "s1", "s2", "m1", "m2", "m4", "m5"},
    LUIS: {"garden", "s1", "m1", "m5"},
    NOBODY: {"garden", "s1", "m1", "m3", "m5"},
}


class Side:
    """A node's store with the role over it."""

    def __init__(self, store: Store, **changes: object) -> None:
        self.store = store
        self.handlers = Moving(services(store, None, [])).handlers()

    async def export(self, who: Who, *, history: bool = True) -> list[Entry]:
        items = [i async for i in self.handlers[calls.EXPORT.name](ExportRequest(who, history), SERVED)]
        assert items[-1].entries == []
        entries = [entry for item in items for entry in item.entries]
        assert items[-1].total == len(entries)
        return entries

    async def take(self, who: Who, entries: list[Entry], **options: object) -> calls.ImportItem:
        numbered = [Entry(entry.kind, entry.body, line) for line, entry in enumerate(entries, 1)]
        item: calls.ImportItem = await one(
            self.handlers[calls.IMPORT.name],
            ImportRequest(who, numbered, **options),  # type: ignore[arg-type]
        )
        return item

    async def shown(self) -> dict[str, Portable]:
        """What is visible, by key, without salt."""
        found: dict[str, Portable] = {}
        for kind, shape in memory_files.SHAPES.items():
            for key, _, packed in await self.store.below(kind, "", 100_000):
                found[key] = without_salt(decode(packed, shape))
        return found


@pytest.fixture
async def sides(tmp_path: Path) -> AsyncIterator[tuple[Side, Side]]:
    here = await Store.open(tmp_path / "here.db", ME)
    there = await Store.open(tmp_path / "there.db", NodeId("b" * 32))
    await here.append_many([(kind_of(body), "", body) for body in BODIES])
    yield Side(here), Side(there)
    await here.close()
    await there.close()


def kind_of(body: Portable) -> str:
    return next(kind for kind, shape in memory_files.SHAPES.items() if isinstance(body, shape))


def ids(entries: list[Entry]) -> set[str]:
    return {
        memory_files.SHAPES[entry.kind] and decode(entry.body, memory_files.SHAPES[entry.kind]).id for entry in entries
    }


def entry(body: Portable) -> Entry:
    return Entry(kind_of(body), encode(without_salt(body)))


@pytest.mark.parametrize("who", [ADMIN, ANA, LUIS, NOBODY], ids=["admin", "ana", "luis", "nobody"])
async def test_only_what_a_person_may_see_is_exported(sides, who):
    assert ids(await sides[0].export(who)) == SEEN[who]


async def test_what_was_replaced_is_left_out_where_no_history_is_wanted(sides):
    assert "m5" not in ids(await sides[0].export(ADMIN, history=False))


async def test_no_salt_leaves_the_node_and_a_new_one_is_made_where_it_is_taken_in(sides):
    here, there = sides
    exported = await here.export(ADMIN)
    assert not any(b"m" * 16 in one.body for one in exported)
    await there.take(ADMIN, exported)
    _, packed = (await there.store.at(["memory/m1"]))["memory/m1"]
    assert len(decode(packed, MemoryBody).salt) == SALT_BYTES


async def test_projects_come_first_so_that_what_belongs_to_them_finds_them(sides):
    kinds = [one.kind for one in await sides[0].export(ADMIN)]
    assert kinds == sorted(kinds, key=["project", "summary", "memory"].index)


async def test_imported_again_all_is_known_and_nothing_is_written(sides):
    here, there = sides
    exported = await here.export(ADMIN)
    assert (await there.take(ADMIN, exported)).new == len(BODIES)
    before = await there.store.vector()
    again = await there.take(ADMIN, exported)
    assert (again.new, again.known, again.refused) == (0, len(BODIES), [])
    assert await there.store.vector() == before


async def test_a_preview_counts_and_writes_nothing(sides):
    here, there = sides
    item = await there.take(ADMIN, await here.export(ADMIN), preview=True)
    assert item.new == len(BODIES)
    assert await there.shown() == {}


async def test_what_says_something_else_here_stays_as_it_is(sides):
    here, _ = sides
    item = await here.take(ADMIN, [entry(MemoryBody("m1", "The bin goes out on Sunday"))])
    assert [(one.line, one.field) for one in item.refused] == [(1, "id")]
    assert (await here.shown())["memory/m1"].text == "The bin goes out on Monday"  # type: ignore[union-attr]


async def test_the_second_of_two_under_one_key_is_refused(sides):
    _, there = sides
    item = await there.take(ADMIN, [entry(MemoryBody("x", "one")), entry(MemoryBody("x", "two"))])
    assert (item.new, [one.line for one in item.refused]) == (1, [2])


async def test_what_was_forgotten_is_not_brought_back_by_a_file_that_still_has_it(sides):
    here, _ = sides
    exported = await here.export(ADMIN)
    await here.store.forget("memory/m1")
    item = await here.take(ADMIN, exported)
    assert [one.field for one in item.refused] == ["id"]
    assert "forgotten" in item.refused[0].reason
    assert "memory/m1" not in await here.shown()


async def test_nobody_writes_what_is_another_persons(sides):
    _, there = sides
    mine = entry(MemoryBody("m2", "x", scope="person", person="ana"))
    assert [one.field for one in (await there.take(LUIS, [mine])).refused] == ["person"]
    assert (await there.take(ANA, [mine])).new == 1


async def test_what_is_of_a_project_is_taken_from_its_members_only(sides):
    here, there = sides
    oven = entry(MemoryBody("oven", "60 cm", scope="project", project="kitchen"))
    assert [one.field for one in (await here.take(LUIS, [oven])).refused] == ["project"]
    # that a file has the project too changes nothing about whose it is
    assert [one.field for one in (await here.take(LUIS, [entry(KITCHEN), oven])).refused] == ["project"]
    assert [one.field for one in (await here.take(LUIS, [oven], coming=["kitchen"])).refused] == ["project"]
    assert (await here.take(ANA, [oven])).new == 1
    assert [one.field for one in (await there.take(ANA, [oven])).refused] == ["project"]  # there is none there
    assert (await there.take(ANA, [entry(KITCHEN), oven])).new == 2


async def test_a_project_is_not_made_for_others(sides):
    _, there = sides
    assert [one.field for one in (await there.take(LUIS, [entry(KITCHEN)])).refused] == ["members"]


async def test_a_body_that_is_none_is_refused_and_the_others_are_taken_in(sides):
    _, there = sides
    wrong = [Entry("document", b"x"), Entry("memory", b"\xc1"), entry(MemoryBody("ok", "x"))]
    item = await there.take(ADMIN, wrong)
    assert (item.new, [(one.line, one.field) for one in item.refused]) == (1, [(1, "kind"), (2, "kind")])


async def test_more_entries_than_a_call_takes_are_refused_by_name(sides):
    _, there = sides
    with pytest.raises(InvalidInput, match=r"^entries: "):
        await there.take(ADMIN, [entry(MemoryBody("x", "x"))] * 501)


async def test_what_was_taken_in_is_confirmed_before_it_is_told(tmp_path):
    store = await Store.open(tmp_path / "m.db", ME)
    told: list[int] = []

    async def confirm(records: object) -> Copies:
        told.append(len(records))  # type: ignore[arg-type]
        return Copies(2, 2)

    role = Moving(replace(services(store, None, []), confirm=confirm))
    item = await one(role.handlers()[calls.IMPORT.name], ImportRequest(ADMIN, [entry(MemoryBody("x", "x"))]))
    assert (item.copies, told) == (Copies(2, 2), [1])
    await store.close()


# --- the round trip -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=3)
IDS = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
TIMES = st.floats(0, 1e12, allow_nan=False)
LANGUAGES = st.sampled_from(["", "en", "es"])
MADE_BY = st.sampled_from(["person", "automatic", "nightly", "import"])
SOURCES = st.lists(st.builds(Source, conversation=TEXT, answer=TEXT, at=TIMES, document=TEXT, keys=NAMES), max_size=2)
COMMON = {"id": IDS, "person": TEXT, "tags": NAMES, "keywords": NAMES}
OWNED = COMMON | {
    "text": TEXT,
    "scope": st.sampled_from(["person", "household"]),
    "language": LANGUAGES,
    "dates": NAMES,
    "made_by": MADE_BY,
    "sources": SOURCES,
    "replaced_by": TEXT,
    "project": st.one_of(st.just(""), IDS),
}
MEMORIES = st.builds(
    MemoryBody,
    **OWNED,
    sort=st.sampled_from(["fact", "instruction", "preference"]),
    valid_from=TIMES,
    valid_until=TIMES,
    made_at=TIMES,
    replaced_why=st.sampled_from(["", "merged", "contradicted"]),
)
SUMMARIES = st.builds(
    SummaryBody,
    **OWNED,
    title=TEXT,
    conversation=TEXT,
    began_at=TIMES,
    ended_at=TIMES,
    exchanges=st.integers(0, 2**53),
    documents=NAMES,
)
PROJECTS = st.builds(ProjectBody, **COMMON, name=TEXT, text=TEXT, members=NAMES, began_at=TIMES, ended_at=TIMES)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(MEMORIES, SUMMARIES, PROJECTS), max_size=12, unique_by=key_of))
def test_whatever_is_remembered_goes_through_a_file_and_comes_back_the_same(bodies: list[Portable]) -> None:
    async def there_and_back() -> None:
        with tempfile.TemporaryDirectory() as folder:
            here = await Store.open(Path(folder) / "here.db", ME)
            there = await Store.open(Path(folder) / "there.db", NodeId("b" * 32))
            await here.append_many([(kind_of(body), "", body) for body in bodies])
            lines = [memory_files.line_of(one.kind, one.body) for one in await Side(here).export(ADMIN)]
            assert all(line.count(b"\n") == 1 for line in lines)
            entries = [Entry(*memory_files.entry_of(line)) for line in lines]  # type: ignore[misc]
            item = await Side(there).take(ADMIN, entries)
            assert item.refused == []
            assert await Side(there).shown() == await Side(here).shown() == {key_of(b): b for b in bodies}
            await here.close()
            await there.close()

    asyncio.run(there_and_back())


async def test_what_is_forgotten_while_an_import_is_judged_is_not_brought_back(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sides
    entries = await here.export(ADMIN)
    judge = there.store.forgotten

    async def forgets(keys: list[str]) -> set[str]:
        found = await judge(keys)
        monkeypatch.undo()
        await there.store.forget_all(["memory/m1"])
        return found

    monkeypatch.setattr(there.store, "forgotten", forgets)
    item = await there.take(ADMIN, entries)
    assert (item.new, [each.field for each in item.refused]) == (len(BODIES) - 1, ["id"])
    assert "memory/m1" not in await there.shown()
