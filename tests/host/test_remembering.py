"""What a host tells of exchanges, to whom, and what it keeps to seed the next holder with."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import Memory, Passage, PrepareItem, RecallItem, RememberItem, RememberRequest, Who
from tarsd.errors import NotAllowed, PeerLost
from tarsd.host.host import Host
from tarsd.host.remembering import MAX_STATES
from tarsd.memory.bodies import MEMORY, MemoryBody, conversation_key
from tarsd.memory.forgetting import Forgotten, Text
from tarsd.names import AnswerId, ConversationId, Route
from tarsd.wire import encode
from tests.host.test_host import PASSAGE, PREPARED, Script, ScriptedPeers, ask, build, gives, says

TALK = ConversationId("k")
WITH_MEMORIES = PrepareItem(
    Route.NEEDS_CONTEXT,
    PREPARED.messages,
    [PASSAGE, Passage("o:2", "", "a note.md", 1, 0, 4, "Note")],
    memories=[Memory("memory/m", "memory", "Ana pays.")],
)


class Holder:
    """Folds as a holder does: counts exchanges from the seed on; fails with `errors` first, tells of each call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.told: list[RememberRequest] = []
        self.came = asyncio.Event()
        self._exchanges: dict[str, int] = {}

    async def remember(self, request: RememberRequest) -> AsyncGenerator[RememberItem, None]:
        self.told.append(request)
        self.came.set()
        if self.errors:
            raise self.errors.pop(0)
        seeded = request.seed.exchanges if request.seed else 0
        count = max(self._exchanges.get(request.conversation, 0), seeded) + 1
        self._exchanges[request.conversation] = count
        yield RememberItem(f"sum {count}", count, RecallItem(f"sum {count}", count, person=request.person))


def hosted(**holders: Holder) -> tuple[Host, ScriptedPeers]:
    """Return a host whose conversation's holders are these nodes; the others prepare and answer."""
    remembering: dict[str, dict[str, Script]] = {name: {"remember": each.remember} for name, each in holders.items()}
    return build({"p": {"prepare": gives(WITH_MEMORIES)}, "c": {"chat": says("900")}} | remembering)


async def told(host: Host) -> None:
    """Wait until all that is being remembered is told."""
    await asyncio.gather(*host._remembering._tasks)


def prepared(peers: ScriptedPeers) -> list[calls.PrepareRequest]:
    return [request for _, capability, request in peers.asked if capability == "prepare"]


async def test_a_holder_is_told_of_the_exchange_and_all_that_it_is_about() -> None:
    holder = Holder()
    host, _ = hosted(h=holder)
    await ask(host, conversation=TALK, answer=AnswerId("a1"), who=Who("ana"), project="flat")
    await told(host)
    assert holder.told == [
        RememberRequest(
            TALK,
            "How much is the rent?",
            "900",
            ["a note.md", "lease.pdf"],
            AnswerId("a1"),
            "ana",
            "flat",
            ["memory/m"],
            ["sha"],
        )
    ]


async def test_the_next_question_and_exchange_carry_the_state_so_that_any_holder_goes_on() -> None:
    first, second = Holder(), Holder()
    host, peers = hosted(h=first, i=second)
    await ask(host, conversation=TALK)
    await told(host)
    (old,) = [each for each in (first, second) if each.told]
    (new,) = [each for each in (first, second) if not each.told]
    gone = {id(first): "h", id(second): "i"}[id(old)]
    peers.members[:] = [each for each in peers.members if each.name != gone]
    await ask(host, conversation=TALK)
    await told(host)
    assert prepared(peers)[0].seed is None
    assert prepared(peers)[1].seed == new.told[0].seed == RecallItem("sum 1", 1)
    await ask(host, conversation=TALK)
    assert prepared(peers)[2].seed == RecallItem("sum 2", 2)
    await host.stop()


async def test_an_exchange_whose_holder_is_lost_is_told_again_until_somebody_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tarsd.host.remembering.FIRST_PAUSE_S", 0.01)
    holder = Holder(PeerLost("gone"), PeerLost("gone"))
    host, _ = hosted(h=holder)
    await ask(host, conversation=TALK, answer=AnswerId("a1"))
    await told(host)
    assert [each.of for each in holder.told] == ["a1"] * 3
    assert host._remembering._states


async def test_it_is_not_told_for_ever_nor_to_who_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarsd.host.remembering.FIRST_PAUSE_S", 0.01)
    lost = Holder(*[PeerLost("gone")] * 99)
    host, _ = hosted(h=lost)
    host._remembering._patience_s = 0.05
    await ask(host, conversation=TALK)
    await told(host)
    assert 1 < len(lost.told) < 20
    refusing = Holder(NotAllowed("no"))
    host, _ = hosted(h=refusing)
    await ask(host, conversation=TALK)
    await told(host)
    assert len(refusing.told) == 1


async def test_persons_do_not_share_the_state_of_one_id() -> None:
    host, peers = hosted(h=Holder())
    await ask(host, conversation=TALK, who=Who("ana"))
    await told(host)
    await ask(host, conversation=TALK, who=Who("ben"))
    assert prepared(peers)[-1].seed is None
    await ask(host, conversation=TALK, who=Who("ana"))
    assert prepared(peers)[-1].seed is not None
    await host.stop()


async def test_the_states_kept_are_bounded_the_one_told_longest_ago_goes() -> None:
    host, peers = hosted(h=Holder())
    for number in range(MAX_STATES + 1):
        await ask(host, conversation=ConversationId(f"k{number}"))
        await told(host)
    for number in (0, 1):
        await ask(host, conversation=ConversationId(f"k{number}"))
    assert [each.seed is None for each in prepared(peers)[-2:]] == [True, False]
    await host.stop()


async def test_a_holder_that_knows_less_does_not_set_the_host_back() -> None:
    host, peers = hosted(h=Holder())
    for _ in range(2):
        await ask(host, conversation=TALK)
        await told(host)
    (member,) = [each for each in peers.members if each.name == "h"]
    peers.scripts["h"]["remember"] = gives(RememberItem("an older node", 1))
    peers.members[:] = [*(each for each in peers.members if each.name != "h"), member]
    await ask(host, conversation=TALK)
    await told(host)
    await ask(host, conversation=TALK)
    assert prepared(peers)[-1].seed == RecallItem("sum 2", 2)
    await host.stop()


async def test_an_older_holder_that_tells_no_state_still_gives_one() -> None:
    host, peers = hosted(h=Holder())
    peers.scripts["h"]["remember"] = gives(RememberItem("so far", 4))
    await ask(host, conversation=TALK)
    await told(host)
    await ask(host, conversation=TALK)
    assert prepared(peers)[-1].seed == RecallItem("so far", 4)
    await host.stop()


async def test_of_a_temporary_chat_nobody_is_told_and_nothing_remembered_is_asked_for() -> None:
    holder = Holder()
    host, peers = hosted(h=holder)
    await ask(host, conversation=TALK)
    await told(host)
    await ask(host, conversation=TALK, temporary=True, text="Ana's secret?")
    await told(host)
    assert len(holder.told) == 1
    asked = prepared(peers)[-1]
    assert (asked.temporary, asked.conversation, asked.seed) == (True, "", None)


async def test_a_dropped_conversation_is_kept_nowhere_and_what_is_on_its_way_does_not_bring_it_back() -> None:
    holder = Holder()
    host, peers = hosted(h=holder)
    await ask(host, conversation=TALK, who=Who("ana"))
    await told(host)
    held = asyncio.Event()

    async def hangs(request: Any) -> AsyncGenerator[RememberItem, None]:
        held.set()
        await asyncio.Event().wait()
        yield RememberItem("back", 9, RecallItem("back", 9, person="ana"))

    peers.scripts["h"]["remember"] = hangs
    await ask(host, conversation=TALK, who=Who("ana"))
    await held.wait()
    assert (await host.let_go(Forgotten((conversation_key(TALK, "ben"),)))).conversations == 0
    assert (await host.let_go(Forgotten((conversation_key(TALK, "ana"),)))).conversations == 1
    await asyncio.gather(*host._remembering._tasks, return_exceptions=True)
    await ask(host, conversation=TALK, who=Who("ana"))
    assert prepared(peers)[-1].seed is None
    await host.stop()


async def test_a_holder_that_dropped_it_meanwhile_leaves_no_empty_state() -> None:
    host, peers = hosted(h=Holder())
    peers.scripts["h"]["remember"] = gives(RememberItem("", 0, RecallItem()))
    await ask(host, conversation=TALK)
    await told(host)
    await ask(host, conversation=TALK)
    assert prepared(peers)[-1].seed is None
    await host.stop()


async def test_a_host_that_prepares_alone_knows_what_was_said_before() -> None:
    holder = Holder()
    host, peers = hosted(h=holder)
    await ask(host, conversation=TALK)
    await told(host)
    peers.members[:] = [each for each in peers.members if each.name != "p"]
    await ask(host, conversation=TALK)
    request = [request for _, capability, request in peers.asked if capability == "chat"][-1]
    assert "sum 1" in request.messages[0].content
    await ask(host, conversation=TALK, turns=(calls.Turn("q", "a"),))  # the open chat still has all of it
    request = [request for _, capability, request in peers.asked if capability == "chat"][-1]
    assert "sum 1" not in request.messages[0].content
    await host.stop()


async def test_what_is_forgotten_leaves_the_seed_for_the_next_holder() -> None:
    holder = Holder()
    host, peers = hosted(h=holder)
    await ask(host, conversation=TALK)
    await told(host)
    secret = MemoryBody("a", "sum 1")
    await host.let_go(Forgotten(("memory/a",), (Text(MEMORY, "memory/a", encode(secret)),)))
    await ask(host, conversation=TALK)
    assert prepared(peers)[-1].seed is None


async def test_a_forgotten_conversation_leaves_no_seed() -> None:
    host, peers = hosted(h=Holder())
    await ask(host, conversation=TALK)
    await told(host)
    await host.let_go(Forgotten((f"conversation/{TALK}",)))
    await ask(host, conversation=TALK)
    assert prepared(peers)[-1].seed is None
