"""Conversations at the cognitive node: folded in order, whole again elsewhere, written down when they end."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import (
    Copies,
    RecallItem,
    RecallRequest,
    Record,
    RememberItem,
    RememberRequest,
    SummarizeItem,
    Who,
)
from tarsd.config import Memory
from tarsd.errors import PeerLost, StorageError
from tarsd.memory.bodies import MEMORY, MemoryBody, ProjectBody, SummaryBody, conversation_key
from tarsd.memory.conversations import LONG
from tarsd.memory.forgetting import Forgotten, Text
from tarsd.memory.store import Store
from tarsd.names import AnswerId, ConversationId
from tarsd.roles.folding import MAX_WAITING_FOLDS, Folding
from tarsd.wire import encode
from tests.roles.role_help import ME, one, services
from tests.test_routing import member

TALK = ConversationId("c")
OTHER = ConversationId("d")


class Writer:
    """A model that writes what the test says, "" = it cannot; `gate` holds it up, `began` tells that it is at work."""

    def __init__(self) -> None:
        self.writes = ""
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()

    async def summarize(self, text: str, max_words: int, deadline_s: float) -> SummarizeItem:
        self.asked.append(text)
        self.began.set()
        await self.gate.wait()
        return SummarizeItem(self.writes, "model") if self.writes else SummarizeItem(text, "extractive")


class Home:
    """Makes foldings over one store, as the daemons of one disk would."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.writer = Writer()
        self.confirmed: list[Record] = []

    def folding(self, *, limit: int = 10, automatic: bool = True, client: Any = None, members: Any = ()) -> Folding:
        given = services(self.store, client, list(members))
        config = msgspec.structs.replace(given.config, memory=Memory(automatic=automatic))
        given = dataclasses.replace(given, config=config, confirm=self._confirm)
        return Folding(given, self.writer.summarize, limit=limit)

    async def _confirm(self, records: Sequence[Record]) -> Copies:
        self.confirmed += records
        return Copies(2, 2)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncGenerator[Home, None]:
    store = await Store.open(tmp_path / "m.db", ME)
    yield Home(store)
    await store.close()


async def remember(folding: Folding, question: str = "What is the rent?", **more: Any) -> RememberItem:
    talk = more.pop("conversation", TALK)
    request = RememberRequest(talk, question, more.pop("answer", "It is 900 euros, said Ana on 3 May 2026."), **more)
    item = await one(folding.handlers()[calls.REMEMBER.name], request)
    assert isinstance(item, RememberItem)
    return item


async def recall(folding: Folding, **more: Any) -> RecallItem:
    item = await one(folding.handlers()[calls.RECALL.name], RecallRequest(more.pop("conversation", TALK), **more))
    assert isinstance(item, RecallItem)
    return item


async def listed(folding: Folding, **more: Any) -> calls.ConversationsItem:
    item = await one(folding.handlers()[calls.CONVERSATIONS.name], calls.ConversationsRequest(**more))
    assert isinstance(item, calls.ConversationsItem)
    return item


def drop(folding: Folding, conversation: ConversationId = TALK, person: str | None = None) -> bool:
    return bool(folding.let_go(Forgotten((conversation_key(conversation, person),))))


async def test_an_exchange_that_two_hosts_tell_of_counts_once(home: Home) -> None:
    """Its answer was resumed although it had ended; the second telling comes while the first is folded."""
    folding = home.folding()
    told = [remember(folding, "one?", answer=answer, of=AnswerId("the-answer")) for answer in ("a b", "a c")]
    first, second = await asyncio.gather(*told)
    assert first == second
    assert (second.exchanges, len(home.writer.asked)) == (1, 1)
    await remember(folding, "two?", of=AnswerId("another"))
    assert len(home.writer.asked) == 2


async def test_without_the_model_names_dates_and_numbers_are_kept(home: Home) -> None:
    summary = (await remember(home.folding())).summary
    assert "900 euros" in summary
    assert "Ana" in summary
    assert "3 May 2026" in summary


async def test_what_the_model_leaves_out_is_mended_and_what_it_invents_is_left_out(home: Home) -> None:
    home.writer.writes = "They spoke of the rent. It was told by Ana on 3 May 2026. Miguel Torres paid 950 euros."
    summary = (await remember(home.folding())).summary
    assert summary.startswith("They spoke of the rent. It was told by Ana on 3 May 2026.")
    assert "900 euros" in summary
    assert "Miguel" not in summary
    assert "950" not in summary


async def test_while_many_exchanges_wait_those_at_hand_are_extracted(home: Home) -> None:
    folding = home.folding()
    home.writer.gate.clear()
    home.writer.writes = "So far."
    told = [asyncio.create_task(remember(folding, f"{n}?")) for n in range(MAX_WAITING_FOLDS + 3)]
    await home.writer.began.wait()
    home.writer.gate.set()
    await asyncio.gather(*told)
    assert len(home.writer.asked) == MAX_WAITING_FOLDS + 1
    assert (await recall(folding)).exchanges == len(told)


async def test_a_new_holder_goes_on_from_what_the_host_knows(home: Home) -> None:
    dead, new = home.folding(), home.folding()
    await remember(dead, person="ana", project="flat", documents=["lease.pdf"], document_ids=["f0"])
    state = (await remember(dead, "And the deposit?", answer="1.800 euros.", person="ana")).state
    assert state is not None
    assert await recall(new, person="ana", seed=state) == state
    assert (await remember(new, "Thanks!", answer="You are welcome.", person="ana")).exchanges == 3


async def test_an_exchange_told_to_a_new_holder_is_folded_into_what_the_host_knows(home: Home) -> None:
    dead, new = home.folding(), home.folding()
    state = (await remember(dead)).state
    item = await remember(new, "And the deposit?", answer="1.800 euros.", seed=state)
    assert item.exchanges == 2
    assert "900 euros" in item.summary
    assert "1.800 euros" in item.summary


async def test_nobody_is_seeded_with_the_conversation_of_another_person(home: Home) -> None:
    state = (await remember(home.folding(), person="ana")).state
    folding = home.folding()
    for person in ("ben", "ana"):
        assert (await recall(folding, person=person, seed=state if person == "ben" else None)).exchanges == 0


async def test_a_conversation_that_makes_room_is_written_down_and_goes_on_from_there(home: Home) -> None:
    folding = home.folding(limit=1)
    for answer in ("It is 900 euros, said Ana on 3 May 2026.", "María Gómez gets it."):
        await remember(
            folding, answer=answer, person="ana", documents=["l.pdf"], document_ids=["f0" * 32], recalled=["memory/m"]
        )
    await remember(folding, conversation=OTHER)
    await folding.stop()
    (body,) = await home.store.summaries()
    assert [record.key for record in home.confirmed] == [f"summary/{body.id}"]
    assert (body.scope, body.person, body.exchanges, body.conversation) == ("person", "ana", 2, TALK)
    assert (body.documents, body.dates, body.made_by, body.language) == (["l.pdf"], ["2026-05-03"], "automatic", "en")
    assert "María Gómez" in body.keywords
    assert {key for source in body.sources for key in source.keys} == {"memory/m"}
    assert {source.document for source in body.sources} == {"", "f0" * 32}
    recalled = await recall(home.folding(), person="ana")
    assert (recalled.summary, recalled.exchanges, recalled.documents) == (body.text, 2, ["l.pdf"])
    assert (await recall(home.folding(), person="ben")).exchanges == 0


async def test_a_conversation_that_is_touched_again_updates_its_record(home: Home) -> None:
    first = home.folding()
    for _ in range(2):
        await remember(first)
    await first.stop()
    (before,) = await home.store.summaries()
    second = home.folding()
    await remember(second, "And the deposit?", answer="1.800 euros.")
    await second.stop()
    (after,) = await home.store.summaries()
    assert (after.id, after.salt, after.exchanges) == (before.id, before.salt, 3)
    assert "1.800 euros" in after.text


async def test_a_long_conversation_is_written_down_while_it_goes_on(home: Home) -> None:
    folding = home.folding()
    for number in range(LONG):
        await folding.write_ended()
        assert await home.store.summaries() == []
        await remember(folding, f"And number {number}?")
    await folding.write_ended()
    assert [body.exchanges for body in await home.store.summaries()] == [LONG]
    records = len(home.confirmed)
    await folding.write_ended()
    assert len(home.confirmed) == records


async def test_a_single_exchange_is_not_written_down(home: Home) -> None:
    folding = home.folding(limit=1)
    await remember(folding)
    await remember(folding, conversation=OTHER)
    await folding.stop()
    assert await home.store.summaries() == []


async def test_nothing_is_written_down_where_nothing_is_to_be_learned_by_itself(home: Home) -> None:
    folding = home.folding(limit=1, automatic=False)
    for conversation in (TALK, OTHER):
        for _ in range(LONG):
            await remember(folding, conversation=conversation)
    await folding.write_ended()
    await folding.stop()
    assert await home.store.summaries() == []


async def test_what_a_person_wrote_and_what_knows_more_is_never_set_back(home: Home) -> None:
    first = home.folding()
    for _ in range(3):
        await remember(first)
    await first.stop()
    (known,) = await home.store.summaries()
    other = home.folding()
    other._conversations.seed(TALK, RecallItem("less", 2, touched_at=1.0))  # after a partition
    await other.stop()
    assert await home.store.summaries() == [known]
    edited = msgspec.structs.replace(known, text="The rent is 900.", made_by="person")
    await home.store.append("summary", "", edited)
    later = home.folding()
    for _ in range(2):
        await remember(later)
    await later.stop()
    assert await home.store.summaries() == [edited]


async def test_a_record_that_something_took_the_place_of_is_not_gone_on_from(home: Home) -> None:
    first = home.folding()
    for _ in range(2):
        await remember(first)
    await first.stop()
    (known,) = await home.store.summaries()
    await home.store.append("summary", "", msgspec.structs.replace(known, replaced_by="summary/of-the-project"))
    later = home.folding()
    assert (await recall(later)).exchanges == 0
    for _ in range(2):
        await remember(later, "And the deposit?", answer="1.800 euros.")
    await later.stop()
    (anew,) = await home.store.summaries()
    assert (anew.replaced_by, anew.exchanges) == ("", 2)
    assert "900" not in anew.text


async def test_a_project_makes_it_the_projects_and_nobody_makes_it_the_households(home: Home) -> None:
    folding = home.folding()
    for _ in range(2):
        await remember(folding, person="ana", project="flat")
        await remember(folding, conversation=OTHER)
    await folding.stop()
    found: dict[str, SummaryBody] = {body.scope: body for body in await home.store.summaries()}
    assert sorted(found) == ["household", "project"]
    assert (found["project"].project, found["project"].person) == ("flat", "ana")


async def keep(home: Home, text: str, **place: Any) -> str:
    """Write a memory down; return its key."""
    body = MemoryBody(text.split()[0].strip(":"), text, **place)
    await home.store.append(MEMORY, "", body)
    return f"memory/{body.id}"


async def test_what_a_person_only_recalled_in_a_project_does_not_reach_its_members(home: Home) -> None:
    """The model writes what it is told, and what is mended comes from the exchange: neither may have it."""
    await home.store.append("project", "", ProjectBody("flat", "Flat", members=["ana", "leo"], person="ana"))
    key = await keep(home, "Salary: Ana earns 2345 euros", scope="person", person="ana")
    folding = home.folding()
    home.writer.writes = "Ana earns 2345 euros. Ana asked for the rent."
    said = {"person": "ana", "project": "flat"}
    await remember(folding, "Can Ana pay a rent of 800?", answer="Yes, Ana earns 2345 euros.", recalled=[key], **said)
    await remember(folding, "And 900?", answer="Of the 2345 euros that is much. The flat is 70 m2.", **said)
    await folding.stop()
    (body,) = await home.store.summaries()
    assert (body.scope, body.project) == ("project", "flat")
    assert "2345" not in f"{body}"
    assert not any("2345" in asked for asked in home.writer.asked)
    assert "800" in body.text
    assert "70 m2" in body.text


async def test_what_a_person_says_itself_in_a_project_is_its_members(home: Home) -> None:
    key = await keep(home, "Salary: Ana earns 2345 euros", scope="person", person="ana")
    folding = home.folding()
    for _ in range(2):
        await remember(folding, "I earn 2345 euros.", answer="Fine.", recalled=[key], person="ana", project="flat")
    await folding.stop()
    (body,) = await home.store.summaries()
    assert "2345" in body.text


async def test_in_its_own_conversation_a_person_is_told_what_it_recalled(home: Home) -> None:
    key = await keep(home, "Salary: Ana earns 2345 euros", scope="person", person="ana")
    summary = (await remember(home.folding(), answer="Ana earns 2345 euros.", recalled=[key], person="ana")).summary
    assert "2345" in summary


async def test_what_nobody_in_particular_recalled_of_a_project_does_not_reach_the_household(home: Home) -> None:
    key = await keep(home, "Oven: it costs 765 euros", scope="project", project="kitchen")
    summary = (await remember(home.folding(), answer="The oven costs 765 euros.", recalled=[key])).summary
    assert "765" not in summary


async def test_what_nobody_in_particular_said_in_a_project_and_outside_of_it_is_not_the_households(home: Home) -> None:
    folding = home.folding()
    await remember(folding, project="flat")
    await remember(folding)
    await folding.stop()
    (body,) = await home.store.summaries()
    assert (body.scope, body.person, body.project) == ("person", "", "")
    later = home.folding()  # also where it goes on from its record
    assert (await recall(later)).mixed
    await remember(later)
    await later.stop()
    assert [body.scope for body in await home.store.summaries()] == ["person"]


async def test_what_nobody_in_particular_said_in_a_project_of_others_is_not_the_households(home: Home) -> None:
    await home.store.append("project", "", ProjectBody("flat", "Flat", members=["leo"], person="leo"))
    folding = home.folding()
    for _ in range(2):
        await remember(folding, project="flat")
    await folding.stop()
    (body,) = await home.store.summaries()
    assert (body.scope, body.project) == ("person", "")


async def test_a_project_takes_nothing_from_who_is_no_member(home: Home) -> None:
    await home.store.append("project", "", ProjectBody("flat", "Flat", members=["leo"], person="leo"))
    folding = home.folding()
    for person in ("ana", "leo"):
        for _ in range(2):
            await remember(folding, person=person, project="flat")
    await folding.stop()
    found = {body.person: (body.scope, body.project) for body in await home.store.summaries()}
    assert found == {"ana": ("person", ""), "leo": ("project", "flat")}


async def test_a_disk_that_refuses_costs_no_exchange_and_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folding = home.folding()
    for _ in range(LONG):
        await remember(folding)

    async def full(*entry: Any) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(home.store, "append", full)
        await folding.write_ended()
    await folding.write_ended()
    assert [body.exchanges for body in await home.store.summaries()] == [LONG]


async def test_a_conversation_that_made_room_while_the_disk_refused_it_is_written_at_the_next_occasion(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folding = home.folding(limit=1)
    refused = asyncio.Event()

    async def full(*entry: Any) -> None:
        refused.set()
        raise StorageError("disk full")

    for _ in range(2):
        await remember(folding)
    with monkeypatch.context() as broken:
        broken.setattr(home.store, "append", full)
        await remember(folding, conversation=OTHER)
        await refused.wait()
    await folding.write_ended()
    assert [body.conversation for body in await home.store.summaries()] == [TALK]


async def test_people_see_their_own_conversations_newest_first(home: Home) -> None:
    folding = home.folding()
    await remember(folding, person="ana", documents=["lease.pdf"], project="flat")
    await remember(folding, conversation=OTHER, person="ben")
    await remember(folding, conversation=ConversationId("e"), person="ana")
    found = (await listed(folding, who=Who("ana"))).conversations
    assert [each.id for each in found] == ["e", "c"]
    assert (found[1].title, found[1].documents, found[1].projects) == ("What is the rent?", ["lease.pdf"], ["flat"])
    assert (found[1].exchanges, found[1].person) == (1, "ana")
    assert "900" in found[1].summary
    everybodys = await listed(folding, who=Who("root", sees_all=True))
    assert {each.id for each in everybodys.conversations} == {"c", "d", "e"}
    assert (await listed(folding)).conversations == []


class OtherNode:
    """Answers `conversations` as another holder, or is lost."""

    def __init__(self, answer: calls.ConversationsItem | PeerLost) -> None:
        self.answer = answer
        self.asked: list[calls.ConversationsRequest] = []

    async def call(
        self, addresses: Any, expected: Any, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[Any, None]:
        self.asked.append(request)
        if isinstance(self.answer, PeerLost):
            raise self.answer
        yield self.answer


async def test_the_conversations_of_all_nodes_are_shown_each_as_who_knows_most_of_it(home: Home) -> None:
    there = [
        calls.ConversationView(TALK, "t", "longer", 9, 0.0, 5.0),
        calls.ConversationView(OTHER, "t", "only there", 1, 0.0, 7.0),
    ]
    peer = OtherNode(calls.ConversationsItem(there))
    members = [member("b", capabilities={calls.CONVERSATIONS.name: {}})]
    folding = home.folding(client=peer, members=members)
    await remember(folding)
    found = await listed(folding)
    assert [(each.id, each.exchanges) for each in found.conversations] == [(OTHER, 1), (TALK, 9)]
    assert [asked.everywhere for asked in peer.asked] == [False]
    assert len((await listed(folding, everywhere=False)).conversations) == 1
    peer.answer = PeerLost("b is gone")
    alone = await listed(folding)
    assert ([each.exchanges for each in alone.conversations], alone.degraded) == ([1], "b")


async def test_a_dropped_conversation_is_gone_and_only_its_own_person_drops_it(home: Home) -> None:
    folding = home.folding()
    await remember(folding, person="ana")
    assert not drop(folding, person="ben")
    assert (await recall(folding, person="ana")).exchanges == 1
    assert drop(folding, person="ana")
    assert not drop(folding)
    assert (await recall(folding, person="ana")).exchanges == 0


async def test_what_is_dropped_while_it_is_folded_and_while_it_waits_does_not_come_back(home: Home) -> None:
    folding = home.folding()
    home.writer.gate.clear()
    told = [asyncio.create_task(remember(folding, of=AnswerId(name))) for name in ("one", "two")]
    await home.writer.began.wait()
    drop(folding)
    home.writer.gate.set()
    assert [item.exchanges for item in await asyncio.gather(*told)] == [0, 0]
    assert len(folding) == 0
    assert (await remember(folding)).exchanges == 1  # a new exchange was not meant


SECRET = MemoryBody("a", "The code of the safe is 4711")
FORGOTTEN = Forgotten(("memory/a",), (Text(MEMORY, "memory/a", encode(SECRET)),))


async def test_what_is_forgotten_leaves_the_conversations_that_tell_it(home: Home) -> None:
    folding = home.folding()
    home.writer.writes = "It rained. The code of the safe is 4711."
    await remember(folding, "What was it?", answer="It rained. The safe's code is 4711.")
    assert "4711" in (await recall(folding)).summary
    assert folding.let_go(FORGOTTEN) == 1
    summary = (await recall(folding)).summary
    assert "4711" not in summary
    assert "rained" in summary
    assert folding.let_go(FORGOTTEN) == 0


async def test_an_exchange_that_is_being_folded_does_not_bring_back_what_is_forgotten(home: Home) -> None:
    folding = home.folding()
    home.writer.gate.clear()
    telling = asyncio.create_task(remember(folding, "Forget the code of the safe, 4711.", answer="It is forgotten."))
    await home.writer.began.wait()
    folding.let_go(FORGOTTEN)
    home.writer.gate.set()
    item = await telling
    assert item.state is not None
    assert "4711" not in item.state.summary + item.state.title


async def test_a_state_that_was_taken_before_something_was_forgotten_is_written_without_it(home: Home) -> None:
    folding = home.folding()
    await remember(folding, "What was it?", answer="It rained. The safe's code is 4711.")
    ((conversation, kept),) = folding._conversations.list()
    folding.let_go(FORGOTTEN)
    await folding._write(conversation, kept)
    (written,) = await home.store.bodies_below("summary")
    assert isinstance(written, SummaryBody)
    assert "4711" not in written.text + written.title


async def test_a_conversation_that_is_forgotten_while_it_is_folded_stays_forgotten(home: Home) -> None:
    folding = home.folding()
    home.writer.gate.clear()
    telling = asyncio.create_task(remember(folding))
    await home.writer.began.wait()
    folding.let_go(Forgotten((f"conversation/{TALK}",)))
    home.writer.gate.set()
    assert (await telling).exchanges == 0
    assert len(folding) == 0


async def test_conversations_that_are_forgotten_while_others_are_written_down_are_not_written(home: Home) -> None:
    folding = home.folding()
    for talk in ("one", "two", "three"):
        for number in range(2):
            await remember(folding, f"{number}?", conversation=ConversationId(talk), document_ids=["d" * 64])

    async def forgets_meanwhile(records: Sequence[Record]) -> Copies:
        folding.let_go(Forgotten(("conversation/one", f"document/{'d' * 64}")))
        return Copies(1, 2, "alone")

    folding._synthesis._services = dataclasses.replace(folding._synthesis._services, confirm=forgets_meanwhile)
    await folding.stop()
    (written,) = await home.store.bodies_below("summary")
    assert isinstance(written, SummaryBody)
    assert written.conversation == "three"


async def test_a_conversation_that_made_room_and_is_forgotten_before_it_is_written_is_not_written(home: Home) -> None:
    folding = home.folding(limit=1)
    for _ in range(2):
        await remember(folding, "What is it?", conversation=ConversationId("one"))
    await remember(folding, conversation=ConversationId("two"))
    assert len(folding._writing) == 1
    folding.let_go(Forgotten(("conversation/one",)))
    await folding.stop()
    assert [
        body for body in await home.store.bodies_below("summary") if getattr(body, "conversation", "") == "one"
    ] == []
