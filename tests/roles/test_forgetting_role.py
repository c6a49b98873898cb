"""Forgetting among several nodes: what goes, who says so, and what comes of those that were away."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ForgetItem, ForgetRequest, ReceiptRequest, Removed, Who
from tarsd.errors import InvalidInput, NotFound, TarsdError
from tarsd.gossip.member import Member, State
from tarsd.memory.bodies import (
    DOCUMENT,
    MEMORY,
    PASSAGE,
    PROJECT,
    SUMMARY,
    DocumentBody,
    MemoryBody,
    PassageBody,
    ProjectBody,
    ReceiptBody,
    Source,
    SummaryBody,
)
from tarsd.memory.forgetting import Forgotten, LetGo
from tarsd.memory.store import Store
from tarsd.names import ConversationId
from tarsd.planning import receipts as receipts_module
from tarsd.roles.forgetting import Forgetting
from tarsd.roles.obeying import Part
from tests.roles.home import Home, HomeNode
from tests.roles.role_help import SERVED, one

SHA = "d" * 64
CANARY = "Xylophonkanarie"
STEM = b"ylophonkanar"
ANA, BOB, ADMIN = Who("ana"), Who("bob"), Who(sees_all=True)
SECRET = MemoryBody("a", f"The code word of the safe is {CANARY}")


class Place:
    """A part of a node that holds copies; it lets go, or does not."""

    def __init__(self) -> None:
        self.heard: list[Forgotten] = []
        self.answer: LetGo | TarsdError = LetGo(cached=2, conversations=1)

    async def let_go(self, forgotten: Forgotten) -> LetGo:
        self.heard.append(forgotten)
        if isinstance(self.answer, TarsdError):
            raise self.answer
        return self.answer


async def start(node: HomeNode, *parts: Part) -> Forgetting:
    """Let a node forget; the others see that it can."""
    identity: Any = SimpleNamespace(node_id=node.id, name=node.name)
    config = node.services.config
    config = msgspec.structs.replace(config, node=msgspec.structs.replace(config.node, data_dir=node.home.folder))
    node.services = dataclasses.replace(node.services, identity=identity, config=config)
    role = Forgetting(node.services, node.replicator.puller.catch_up, parts)
    node.handlers |= role.handlers()
    seen: Callable[..., Member] = type(node).seen

    def able(state: State = State.ALIVE) -> Member:
        found = seen(node, state)
        return msgspec.structs.replace(found, capabilities={**found.capabilities, calls.OBEY.name: {}})

    node.seen = able  # type: ignore[method-assign]
    await role.start()
    return role


@pytest.fixture
async def home(tmp_path: Path) -> AsyncGenerator[Home, None]:
    found = Home(tmp_path)
    yield found
    await found.close()


@pytest.fixture
async def pair(home: Home) -> AsyncGenerator[tuple[Forgetting, Forgetting], None]:
    roles = await start(await home.add("a")), await start(await home.add("b"))
    home.gossip()
    yield roles
    for role in roles:
        await role.stop()


async def forget(role: Forgetting, key: str = "memory/a", who: Who = ANA, **more: Any) -> ForgetItem:
    return await one(role.handlers()[calls.FORGET.name], ForgetRequest(who, key, **more))


async def receipts(role: Forgetting, receipt: str = "", who: Who = ADMIN) -> list[ForgetItem]:
    asked = ReceiptRequest(receipt, who=who)
    return [item async for item in role.handlers()[calls.RECEIPTS.name](asked, SERVED)]


async def until_whole(role: Forgetting, store: Store) -> None:
    changed = asyncio.Event()
    unsubscribe = store.subscribe(lambda change: changed.set())
    async with asyncio.timeout(30):
        while not (await receipts(role))[0].is_whole:
            await changed.wait()
            changed.clear()
    unsubscribe()


async def remember(home: Home, *bodies: MemoryBody | SummaryBody | ProjectBody) -> None:
    kinds = {MemoryBody: MEMORY, SummaryBody: SUMMARY, ProjectBody: PROJECT}
    await home.nodes["a"].store.append_many([(kinds[type(body)], "", body) for body in bodies])
    await home.settle()


async def add_document(store: Store) -> None:
    await store.append(PASSAGE, "", PassageBody(SHA, 1, 0, 9, f"Turn the {CANARY} key twice."))
    await store.append(DOCUMENT, "", DocumentBody(SHA, "safe.pdf", passages=1))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and STEM in path.read_bytes().lower())


def states(item: ForgetItem) -> dict[str, str]:
    return {removed.node[0]: removed.state for removed in item.nodes}


async def test_a_memory_is_gone_from_every_file_of_every_node_when_the_receipt_comes(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    await remember(home, SECRET, SummaryBody("s", "Talk", f"It rained. The safe's code word is {CANARY}."))
    assert {name[0] for name in left_in(tmp_path)} == {"a", "b"}
    receipt = await forget(pair[0])
    assert left_in(tmp_path) == []
    assert receipt.keys == ["memory/a", "summary/s"]
    assert receipt.is_whole
    assert [(each.node, each.state, each.records, each.keywords) for each in receipt.nodes] == [
        ("aaaa", "done", 2, 2),
        ("bbbb", "done", 2, 2),
    ]
    for node in home.nodes.values():
        (summary,) = await node.store.summaries()
        assert summary.text == "It rained."
        assert await node.store.integrity_check() == []


async def test_the_receipt_can_be_asked_for_at_every_node_and_holds_no_text(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    await remember(home, SECRET)
    given = await forget(pair[1])
    await home.settle()
    for role in pair:
        (shown,) = await receipts(role)
        assert shown == given
        assert await receipts(role, given.receipt) == [given]
    assert CANARY not in str(given)


async def test_a_node_that_is_away_is_pending_and_says_so_itself_when_it_is_back(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    await remember(home, SECRET)
    home.part("a", "b")
    home.gossip()
    receipt = await forget(pair[0])
    assert states(receipt) == {"a": "done", "b": "pending"}
    assert not receipt.is_whole
    assert {name[0] for name in left_in(tmp_path)} == {"b"}
    home.heal()
    async with asyncio.timeout(30):
        while not (await receipts(pair[0]))[0].is_whole:
            await home.settle()
    assert left_in(tmp_path) == []
    assert states((await receipts(pair[1]))[0]) == {"a": "done", "b": "done"}


async def test_what_the_other_side_of_a_split_made_of_it_before_or_after_goes_too(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    """The night merged it there, a newer memory took its place there, and a talk there leaned on it."""
    other = MemoryBody("o", f"{CANARY} opens the gate")
    await remember(home, SECRET, other)
    home.part("a", "b")
    home.gossip()
    made = MemoryBody("merged-1", SECRET.text, made_by="nightly", sources=[Source(keys=["memory/a", "memory/x"])])
    twin = MemoryBody("x", SECRET.text, replaced_by="memory/merged-1", replaced_why="merged")
    talk = SummaryBody(
        "t",
        "Talk",
        f"The code word of the safe is {CANARY}. It rained.",
        sources=[Source("c", "", 1.0, "", ["memory/a"])],
    )
    there = home.nodes["b"].store
    await there.append_many([(MEMORY, "", made), (MEMORY, "", twin), (SUMMARY, "", talk)])
    await there.append(SUMMARY, "", SummaryBody("w", "Talk", f"{CANARY} again", conversation="w", person="ana"))
    assert states(await forget(pair[0])) == {"a": "done", "b": "pending"}
    await forget(pair[0], "memory/o")
    await forget(pair[0], "", conversation="w")
    newer = msgspec.structs.replace(SECRET, replaced_by="memory/merged-1", replaced_why="merged")
    gate = MemoryBody("n", "The gate is open")
    past = msgspec.structs.replace(other, replaced_by="memory/n", replaced_why="contradicted")
    await there.append_many([(MEMORY, "", newer), (MEMORY, "", gate), (MEMORY, "", past)])
    home.heal()
    async with asyncio.timeout(30):
        while not all(each.is_whole for each in await receipts(pair[0])) or left_in(tmp_path):
            await home.settle()
    for node in home.nodes.values():
        assert await node.store.body_of("memory/n") == gate
        rest = await node.store.body_of("summary/t")
        assert isinstance(rest, SummaryBody)
        assert rest.text == "It rained."


async def test_a_node_that_was_killed_before_it_answered_answers_when_it_starts(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    await remember(home, SECRET)
    await pair[1].stop()
    home.nodes["b"].handlers.pop(calls.OBEY.name)
    receipt = await forget(pair[0])
    assert states(receipt) == {"a": "done", "b": "pending"}
    await home.settle()
    place = Place()
    again = await start(home.nodes["b"], place.let_go)
    await until_whole(again, home.nodes["b"].store)
    await again.stop()
    assert [each.graves for each in place.heard] == [("memory/a",)]


async def test_parts_of_a_node_let_go_and_are_counted_before_it_says_that_it_obeyed(home: Home) -> None:
    place = Place()
    role = await start(await home.add("a"), place.let_go)
    await remember(home, SECRET)
    (removed,) = (await forget(role)).nodes
    assert (removed.cached, removed.conversations) == (2, 1)
    assert [text.key for text in place.heard[0].texts] == ["memory/a"]
    await role.stop()


async def test_a_part_that_cannot_let_go_is_asked_again_and_the_receipt_waits(home: Home) -> None:
    place = Place()
    place.answer = NotFound("the disk is away")
    role = await start(await home.add("a"), place.let_go)
    role._obeying._retry_s = 0.01
    await remember(home, SECRET)
    receipt = await forget(role)
    assert [(each.state, each.reason) for each in receipt.nodes] == [("pending", "the disk is away")]
    place.answer = LetGo()
    await until_whole(role, home.nodes["a"].store)
    await role.stop()


async def test_a_part_that_fails_by_a_mistake_does_not_end_obeying(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    mistakes = [ValueError(CANARY)]

    async def mistaken(forgotten: Forgotten) -> LetGo:
        if mistakes:
            raise mistakes.pop()
        return LetGo()

    role = await start(await home.add("a"), mistaken)
    role._obeying._retry_s = 0.01
    await remember(home, SECRET)
    await forget(role)
    await until_whole(role, home.nodes["a"].store)
    assert role.problems() == []
    assert CANARY not in caplog.text
    await role.stop()


@pytest.mark.parametrize("many", [1, 30])
async def test_what_was_made_of_it_goes_too_when_a_kill_came_between(home: Home, many: int) -> None:
    node = await home.add("a")
    await remember(home, SECRET, MemoryBody("b", "Something", sources=[Source(keys=["memory/a"])]))
    keys = ["memory/a", *(f"memory/gone-{number}" for number in range(1, many))]
    receipt = ReceiptBody("r", keys, {node.id: "a"}, 1.0)
    await node.store.forget_all(keys, [("receipt", "", receipt)])  # and then it was killed
    role = await start(node)
    await until_whole(role, node.store)
    assert await node.store.body_of("memory/b") is None
    await role.stop()


async def test_what_a_person_may_not_see_is_not_known_to_that_person(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    await remember(
        home,
        MemoryBody("a", "Ana's own", scope="person", person="ana"),
        ProjectBody("p", "Kitchen", members=["ana"], person="ana"),
        SummaryBody("s", "Talk", "Ana's own talk", scope="person", person="ana", conversation="c"),
    )
    for key in ("memory/a", "project/p", "summary/s", "memory/none", f"document/{SHA}"):
        with pytest.raises(NotFound, match=f"nothing is known of {key}"):
            await forget(pair[0], key, BOB)
    assert (await forget(pair[0], "", BOB, conversation="c")).keys == ["conversation/c/bob"]
    assert (await home.nodes["a"].store.body_of("summary/s")) is not None
    assert (await forget(pair[0], "memory/a", Who("eve", sees_all=True))).is_whole


async def test_an_older_version_of_a_summary_that_told_it_goes_though_the_present_one_does_not(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    told = SummaryBody("s", "Talk", f"It rained. The code word of the safe is {CANARY}.", exchanges=1)
    now = SummaryBody("s", "Talk", "It rained, and then the sun shone.", exchanges=2)
    await remember(home, SECRET, told)
    await remember(home, now)
    assert (await forget(pair[1])).is_whole
    await home.settle()
    assert left_in(tmp_path) == []
    assert await home.nodes["a"].store.body_of("summary/s") == now


async def test_a_summary_that_is_written_anew_while_it_is_looked_what_goes_along_keeps_what_is_new(
    home: Home, pair: tuple[Forgetting, Forgetting], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SummaryBody("s", "Talk", f"It rained. The code word of the safe is {CANARY}.", exchanges=1)
    new = msgspec.structs.replace(old, text=f"{old.text} The plumber comes on Monday.", exchanges=2)
    await remember(home, SECRET, old)
    store = home.nodes["a"].store
    plain = store.older_summaries

    async def written_meanwhile() -> list[SummaryBody]:
        monkeypatch.undo()
        await store.append(SUMMARY, "", new)
        return await plain()

    monkeypatch.setattr(store, "older_summaries", written_meanwhile)
    await forget(pair[0])
    left = await store.body_of("summary/s")
    assert isinstance(left, SummaryBody)
    assert (left.text, left.exchanges) == ("It rained. The plumber comes on Monday.", 2)


async def test_a_preview_says_what_would_go_and_leaves_it(home: Home, pair: tuple[Forgetting, Forgetting]) -> None:
    made = MemoryBody("b", "Something", sources=[Source(keys=["memory/a"])])
    await remember(home, SECRET, made)
    preview = await forget(pair[0], preview=True)
    assert preview == ForgetItem("", ["memory/a", "memory/b"], [])
    assert await home.nodes["a"].store.body_of("memory/a") == SECRET
    assert await receipts(pair[0]) == []


async def test_a_document_goes_with_its_passages_and_may_be_taken_in_again(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    store = home.nodes["a"].store
    await add_document(store)
    await home.settle()
    assert (await forget(pair[1], f"document/{SHA}")).is_whole
    assert left_in(tmp_path) == []
    await add_document(store)
    await home.settle()
    for node in home.nodes.values():
        assert await node.store.has_document(SHA)


async def test_passages_that_a_cut_off_reading_left_can_be_forgotten(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    await home.nodes["a"].store.append(PASSAGE, "", PassageBody(SHA, 1, 0, 9, CANARY))
    await forget(pair[0], f"document/{SHA}")
    assert left_in(tmp_path) == []


async def test_a_conversation_is_forgotten_by_a_tombstone_that_every_node_hears(home: Home) -> None:
    places = Place(), Place()
    roles = [await start(await home.add(each), place.let_go) for each, place in zip("ab", places, strict=True)]
    await remember(home, SummaryBody("s", "Talk", "Tea.", conversation="c", person="ana"))
    receipt = await forget(roles[0], "", conversation="c")
    assert receipt.keys == ["conversation/c/ana", "summary/s"]
    assert receipt.is_whole
    assert all("conversation/c/ana" in place.heard[0].graves for place in places)
    for role in roles:
        await role.stop()


async def test_backups_and_damaged_copies_are_named(home: Home, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "monday.tarsd-backup").write_bytes(b"?")
    (tmp_path / "a.db.corrupt-20260101T000000").write_bytes(b"?")
    role = await start(await home.add("a"))
    await remember(home, SECRET)
    (removed,) = (await forget(role)).nodes
    assert (removed.backups, removed.damaged_copies) == (["monday.tarsd-backup"], ["a.db.corrupt-20260101T000000"])
    await role.stop()


@pytest.mark.parametrize(("key", "talk"), [("", ""), ("memory/a", "c"), ("diary/a", ""), ("memory", "")])
async def test_a_request_that_names_nothing_that_can_be_forgotten_is_refused(
    pair: tuple[Forgetting, Forgetting], key: str, talk: str
) -> None:
    with pytest.raises((InvalidInput, NotFound), match=r"key: |nothing is known of memory"):
        await forget(pair[0], key, conversation=talk)


async def test_an_unknown_receipt_is_not_found(pair: tuple[Forgetting, Forgetting]) -> None:
    with pytest.raises(NotFound, match="receipt"):
        await receipts(pair[0], "none")


async def test_what_one_node_says_is_said_once(home: Home, pair: tuple[Forgetting, Forgetting]) -> None:
    await remember(home, SECRET)
    receipt = await forget(pair[0])
    request = calls.ObeyRequest(receipt.receipt)
    first: Removed = await one(pair[0].handlers()[calls.OBEY.name], request)
    assert await one(pair[0].handlers()[calls.OBEY.name], request) == first
    assert first in receipt.nodes


async def test_a_receipt_that_is_heard_of_again_is_not_answered_again(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    await remember(home, SECRET)
    receipt = await forget(pair[0])
    first = await pair[0]._obeying.answer(receipt.receipt)
    pair[0]._obeying._heard(Forgotten(receipts=(receipt.receipt,)))
    assert await pair[0]._obeying.answer(receipt.receipt) == first


async def test_a_node_that_comes_later_has_nothing_to_answer(home: Home, pair: tuple[Forgetting, Forgetting]) -> None:
    await remember(home, SECRET)
    await forget(pair[0])
    late = await start(await home.add("c"))
    await home.settle()
    await late._obeying._done.wait()
    assert states((await receipts(late))[0]) == {"a": "done", "b": "done"}
    await late.stop()


async def test_a_node_that_is_told_before_the_records_come_fetches_them(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    await remember(home, SECRET)
    home.nodes["b"].handlers.pop(calls.PUSH.name)  # nothing is pushed to it, and it does not pull by itself
    assert (await forget(pair[0])).is_whole
    assert left_in(tmp_path) == []


async def test_vectors_of_a_role_that_the_node_has_no_more_are_deleted(home: Home, tmp_path: Path) -> None:
    role = await start(await home.add("a"))
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "old.vectors").write_bytes(STEM)
    await remember(home, SECRET)
    assert (await forget(role)).is_whole
    assert left_in(tmp_path) == []
    await role.stop()


async def test_more_is_forgotten_at_once_than_one_record_holds_the_keys_of(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bounds that fewer memories reach: `planning.receipts` is held to the real ones by its own tests."""
    monkeypatch.setattr(receipts_module, "MAX_PART_BYTES", 1000)
    monkeypatch.setattr(receipts_module, "MAX_LISTED", 50)
    many = 100
    await remember(home, ProjectBody("p", "Archive", members=["ana"]))
    store = home.nodes["a"].store
    bodies = [
        MemoryBody(f"{number:05}{'x' * 50}", f"Box {number}: {CANARY}", scope="project", project="p", person="ana")
        for number in range(many)
    ]
    await store.append_many([(MEMORY, "", body) for body in bodies])
    await home.settle()
    receipt = await forget(pair[0], "project/p")
    assert len(receipt.keys) + receipt.more == many + 1
    await until_whole(pair[0], store)
    await home.settle()
    for role in pair:
        (shown,) = await receipts(role, who=ANA)
        assert (shown.receipt, shown.more, shown.is_whole) == (receipt.receipt, receipt.more, True)
        assert {node.records for node in shown.nodes} == {many + 1}
        assert await receipts(role, who=BOB) == []
    assert left_in(tmp_path) == []


async def test_a_receipt_is_its_persons_and_of_what_all_could_see_everybodys(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    hers = msgspec.structs.replace(SECRET, scope="person", person="ana")
    await remember(home, hers, SummaryBody("s", "Talk", f"It rained. The safe's code word is {CANARY}."))
    given = await forget(pair[0])
    assert given.keys == ["memory/a", "summary/s"]
    await home.settle()
    for who, keys in ((ANA, given.keys), (ADMIN, given.keys), (BOB, ["summary/s"]), (Who(), ["summary/s"])):
        (shown,) = await receipts(pair[1], who=who)
        assert shown.keys == keys
    assert [node.records for node in (await receipts(pair[1], who=BOB))[0].nodes] == [0, 0]


async def test_whose_conversation_was_forgotten_is_told_to_that_person_alone(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    hers = SummaryBody("s", "Talk", CANARY, scope="person", person="ana", conversation="c")
    await remember(home, hers)
    await one(pair[0].handlers()[calls.FORGET.name], ForgetRequest(ANA, conversation=ConversationId("c")))
    assert [item.keys for item in await receipts(pair[0], who=ANA)] == [["conversation/c/ana", "summary/s"]]
    for who in (BOB, Who()):
        assert await receipts(pair[0], who=who) == []
        with pytest.raises(NotFound, match="none with the id"):
            await receipts(pair[0], (await receipts(pair[0]))[0].receipt, who)


async def test_what_is_told_again_on_the_other_side_of_a_split_goes_when_it_heals(
    home: Home, pair: tuple[Forgetting, Forgetting], tmp_path: Path
) -> None:
    """Nothing links to it: a person said it in a conversation there."""
    await remember(home, SECRET)
    home.part("a", "b")
    home.gossip()
    await forget(pair[0])
    told = SummaryBody("s", "Talk", f"It rained. The safe's code word is {CANARY}.")
    await home.nodes["b"].store.append(SUMMARY, "", told)
    home.heal()
    await home.settle()
    await until_whole(pair[0], home.nodes["a"].store)
    await home.settle()
    for node in home.nodes.values():
        (summary,) = await node.store.summaries()
        assert summary.text == "It rained."
    assert left_in(tmp_path) == []


async def test_what_was_said_again_on_purpose_after_it_was_forgotten_stays(
    home: Home, pair: tuple[Forgetting, Forgetting]
) -> None:
    await remember(home, SECRET)
    home.part("a", "b")
    home.gossip()
    await forget(pair[0])
    told = SummaryBody("s", "Talk", f"It rained. The safe's code word is {CANARY}.")
    await home.nodes["a"].store.append(SUMMARY, "", told)  # where it is known that it was forgotten
    home.heal()
    await home.settle()
    await until_whole(pair[0], home.nodes["a"].store)
    await home.settle()
    for node in home.nodes.values():
        assert await node.store.summaries() == [told]
