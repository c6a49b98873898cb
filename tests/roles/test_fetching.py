"""Bringing models here: peers before the hub, going on where it was, checked, one pull a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ModelFileItem, ModelFileRequest, PullItem, PullRequest
from tarsd.config import CatalogModel, Config, Models, Node
from tarsd.dispatch import Dispatch
from tarsd.errors import InvalidInput, NotFound, PeerLost
from tarsd.gossip.member import Member, State
from tarsd.models.shelf import Shelf
from tarsd.models.store import FREE_BYTES, ModelStore, Promise
from tarsd.names import NodeId, Zone
from tarsd.roles import pull as pull_module
from tarsd.roles.base import Services
from tarsd.roles.fetching import Pulls
from tarsd.workers.backoff import Backoff
from tests.dispatch.test_dispatch import ScriptedMembership
from tests.engines.conftest import until
from tests.models.hub_stand_in import StandInHub, stand_in_hub
from tests.models.model_files import gguf_bytes, sha256
from tests.test_routing import member

DATA = gguf_bytes(seed=1)
OTHER = gguf_bytes(seed=2)
SOURCE = "hf:a/b/m.gguf"


class ScriptedPeers:
    """Peers that hold `files` by node; `breaks` says after how many bytes a node's next answers are cut."""

    def __init__(self, **files: bytes) -> None:
        self.files = {NodeId(name * 8): data for name, data in files.items()}
        self.breaks: dict[NodeId, list[int]] = {}
        self.asked: list[tuple[str, str, int]] = []  # node, SHA-256 or name, offset
        self.lies: dict[NodeId, str] = {}
        self.deaf: set[NodeId] = set()  # send what they have, whatever is asked for
        self.ends: dict[NodeId, int] = {}  # end the next answer so early, as if it were whole
        self.gate: asyncio.Event | None = None

    async def call(
        self, addresses: Any, expected: NodeId, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[ModelFileItem, None]:
        assert isinstance(request, ModelFileRequest)
        self.asked.append((expected[0], request.sha256 or request.name, request.offset))
        data = self.files[expected]
        told = self.lies.get(expected) or sha256(data)
        if request.sha256 and request.sha256 != told and expected not in self.deaf:
            raise NotFound("another file")
        if self.gate is not None:
            await self.gate.wait()
        cut = self.breaks.get(expected, [])
        most = cut.pop(0) if cut else len(data)
        size, sent = 1 << 18, 0
        for start in range(request.offset, len(data), size):
            if sent >= most:
                raise PeerLost("it was killed")
            if sent >= self.ends.get(expected, len(data)):
                del self.ends[expected]
                return
            piece = data[start : start + size]
            sent += len(piece)
            yield ModelFileItem(piece, len(data) if start == request.offset else 0, told)


def peer(name: str, **changes: Any) -> Member:
    return member(name, capabilities={calls.MODEL_FILE.name: {}}, **changes)


class Home:
    """A node that pulls."""

    def __init__(self, folder: Path, peers: ScriptedPeers, members: list[Member], **models: Any) -> None:
        config = Config(node=Node(data_dir=folder), models=Models(**models))
        self.membership = ScriptedMembership(*members)
        services = Services(
            config=config,
            identity=None,  # type: ignore[arg-type]
            store=None,  # type: ignore[arg-type]
            dispatch=Dispatch(self.membership, peers, {}),
            members=self.membership.members,
        )
        self.shelf = Shelf(config, None)
        self.done = 0
        self.pulls = Pulls(services, self.shelf, self._count, lambda: Backoff(0.01, 0.01))

    def _count(self) -> None:
        self.done += 1

    @property
    def store(self) -> ModelStore:
        return self.shelf.store

    async def pull(self, name: str = "m", **fields: Any) -> PullItem:
        async with asyncio.timeout(30), aclosing(self.pulls.follow(PullRequest(name, **fields))) as items:
            return [item async for item in items][-1]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncGenerator[Callable[..., Home], None]:
    homes: list[Home] = []

    def build(peers: ScriptedPeers, *members: Member, **models: Any) -> Home:
        homes.append(Home(tmp_path, peers, list(members), **models))
        return homes[-1]

    yield build
    for one in homes:
        await one.pulls.stop()


def begun(home: Home, data: bytes, count: int) -> None:
    """Leave a part behind, as a pull that was cut off does."""
    with home.store.open_part("m", Promise(sha256(data), len(data))) as part:
        part.write(data[:count])


async def test_a_model_is_copied_from_a_peer_and_verified(home: Any) -> None:
    node = home(ScriptedPeers(a=DATA), peer("a"))
    last = await node.pull()
    assert (last.stage, last.origin, last.sha256, last.total_bytes) == ("done", "a", sha256(DATA), len(DATA))
    assert node.store.path_of("m").read_bytes() == DATA
    assert node.done == 1


async def test_the_next_peer_goes_on_where_the_lost_one_stopped(home: Any) -> None:
    peers = ScriptedPeers(a=DATA, b=DATA)
    peers.breaks[NodeId("a" * 8)] = [1_000_000]
    node = home(peers, peer("a"), peer("b"))
    assert (await node.pull()).origin == "b"
    assert peers.asked == [("a", "m", 0), ("b", sha256(DATA), 4 << 18)]
    assert node.store.path_of("m").read_bytes() == DATA


async def test_what_a_restart_left_is_not_fetched_again(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    node = home(peers, peer("a"))
    begun(node, DATA, 2_000_000)
    assert (await node.pull()).stage == "done"
    assert peers.asked == [("a", sha256(DATA), 2_000_000)]


async def test_a_part_that_was_whole_is_only_verified(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    node = home(peers, peer("a"))
    begun(node, DATA, len(DATA))
    assert (await node.pull()).stage == "done"
    assert peers.asked == []


async def test_a_part_that_no_peer_has_is_given_up_for_what_they_have(home: Any) -> None:
    node = home(ScriptedPeers(a=DATA), peer("a"))
    begun(node, OTHER, 1000)
    assert (await node.pull()).sha256 == sha256(DATA)


async def test_a_source_that_comes_back_goes_on_giving(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.breaks[NodeId("a" * 8)] = [500_000, 0, 500_000, 0]
    node = home(peers, peer("a"))
    assert (await node.pull()).stage == "done"
    assert [offset for _, _, offset in peers.asked] == [0, 2 << 18, 2 << 18, 4 << 18, 4 << 18]


async def test_patience_ends(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_module, "PATIENCE_S", 0.1)
    peers = ScriptedPeers(a=DATA)
    peers.breaks[NodeId("a" * 8)] = [500_000] + [0] * 1000
    node = home(peers, peer("a"))
    last = await node.pull()
    assert last.stage == "failed"
    assert "a: it was killed" in last.reason
    assert node.store.part_of("m")[1] == 2 << 18


async def test_a_pull_that_never_got_a_byte_ends_at_once(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.breaks[NodeId("a" * 8)] = [0]
    assert (await home(peers, peer("a")).pull()).stage == "failed"
    assert len(peers.asked) == 1


async def test_where_nobody_has_it_that_is_said(home: Any) -> None:
    last = await home(ScriptedPeers()).pull()
    assert (last.stage, last.reason) == (
        "failed",
        "no other core PC is there that has model files, and no source is set for it",
    )


@pytest.mark.parametrize("kept", [{"zone": Zone.LAB}, {"state": State.DEAD}, {"is_self": True}, {"capabilities": {}}])
async def test_only_core_peers_that_are_there_are_asked(home: Any, kept: dict[str, Any]) -> None:
    peers = ScriptedPeers(a=DATA)
    assert (await home(peers, msgspec.structs.replace(peer("a"), **kept)).pull()).stage == "failed"
    assert peers.asked == []


async def test_a_peer_that_lies_about_its_file_is_found_out_and_the_next_is_asked(home: Any) -> None:
    peers = ScriptedPeers(a=OTHER, b=DATA)
    peers.lies[NodeId("a" * 8)] = sha256(DATA)
    node = home(peers, peer("a"), peer("b"))
    assert (await node.pull()).origin == "b"
    assert node.store.path_of("m").read_bytes() == DATA


async def test_a_wrong_file_from_one_hand_is_refused_for_good(home: Any) -> None:
    peers = ScriptedPeers(a=OTHER)
    peers.lies[NodeId("a" * 8)] = sha256(DATA)
    node = home(peers, peer("a"))
    last = await node.pull()
    assert last.stage == "failed"
    assert "was promised" in last.reason
    assert len(peers.asked) == 1
    assert node.store.names() == []


async def test_a_file_of_several_hands_that_is_wrong_is_fetched_once_more_from_the_start(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    node = home(peers, peer("a"))
    with node.store.open_part("m", Promise(sha256(DATA), len(DATA))) as part:
        part.write(b"x" * 1000)
    assert (await node.pull()).stage == "done"
    assert [offset for _, _, offset in peers.asked] == [1000, 0]


async def test_another_file_than_the_one_asked_for_is_not_taken(home: Any) -> None:
    peers = ScriptedPeers(a=OTHER)
    peers.deaf = {NodeId("a" * 8)}
    node = home(peers, peer("a"), catalog=(CatalogModel(name="m", sha256=sha256(DATA)),))
    assert "another file" in (await node.pull()).reason
    assert node.store.names() == []


async def test_a_part_that_is_whole_and_wrong_is_fetched_anew(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    node = home(peers, peer("a"))
    with node.store.open_part("m", Promise(sha256(DATA), len(DATA))) as part:
        part.write(b"x" * len(DATA))
    assert (await node.pull()).stage == "done"
    assert [offset for _, _, offset in peers.asked] == [0]


async def test_an_answer_that_ends_early_is_gone_on_with(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.ends[NodeId("a" * 8)] = 1_000_000
    assert (await home(peers, peer("a")).pull()).stage == "done"
    assert [offset for _, _, offset in peers.asked] == [0, 4 << 18]


async def test_the_catalogs_hash_is_what_counts(home: Any) -> None:
    peers = ScriptedPeers(a=OTHER, b=DATA)
    node = home(peers, peer("a"), peer("b"), catalog=(CatalogModel(name="m", sha256=sha256(DATA)),))
    assert (await node.pull()).origin == "b"
    last = await node.pull(sha256="0" * 64)
    assert "the catalog says" in last.reason


async def test_what_is_here_already_is_done_at_once(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    node = home(peers, peer("a"))
    await node.pull()
    assert (await node.pull()).stage == "done"
    assert len(peers.asked) == 1
    assert "another SHA-256" in (await node.pull(sha256="0" * 64)).reason


async def test_a_full_disk_ends_the_pull_and_nobody_else_is_asked(home: Any, tmp_path: Path) -> None:
    peers = ScriptedPeers(a=DATA, b=DATA)
    node = home(peers, peer("a"), peer("b"))
    node.shelf.store = ModelStore(tmp_path / "models", free_bytes=lambda folder: FREE_BYTES)
    last = await node.pull()
    assert "must stay so" in last.reason
    assert len(peers.asked) == 1


async def test_two_who_ask_follow_one_pull_and_it_outlives_its_reader(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.gate = asyncio.Event()
    node = home(peers, peer("a"))
    leaving = node.pulls.follow(PullRequest("m"))
    await anext(leaving)
    staying = asyncio.create_task(node.pull())
    await asyncio.sleep(0)
    await leaving.aclose()
    assert node.pulls.state_of("m") is not None
    peers.gate.set()
    assert (await staying).stage == "done"
    assert len(peers.asked) == 1
    assert node.pulls.state_of("m") is None


async def test_when_the_node_stops_the_follower_is_told_and_what_came_is_kept(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.gate = asyncio.Event()
    node = home(peers, peer("a"))
    following = asyncio.create_task(node.pull())
    await until(lambda: bool(peers.asked))
    await node.pulls.stop()
    assert "being stopped" in (await following).reason


@pytest.mark.parametrize("name", ["", "../x", "a/b"])
async def test_a_name_that_cannot_be_is_refused(home: Any, name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        await home(ScriptedPeers()).pull(name)


async def test_a_path_is_no_source_of_a_pull(home: Any) -> None:
    with pytest.raises(InvalidInput, match="source"):
        await home(ScriptedPeers()).pull(source="/etc/passwd")


# --- from the hub, a stand-in -----------------------------------------------------------------------------------------


@pytest.fixture
async def hub() -> AsyncGenerator[StandInHub, None]:
    async with stand_in_hub(StandInHub({"a/b/m.gguf": DATA})) as running:
        yield running


async def test_the_hub_says_which_file_is_meant_and_a_peer_that_has_it_gives_it(home: Any, hub: StandInHub) -> None:
    node = home(ScriptedPeers(a=DATA), peer("a"), hub=hub.url)
    assert (await node.pull("m", source=SOURCE)).origin == "a"
    assert [asked[0] for asked in hub.asked] == ["HEAD"]


async def test_a_peers_other_file_of_the_same_name_is_not_taken_for_it(home: Any, hub: StandInHub) -> None:
    node = home(ScriptedPeers(a=OTHER), peer("a"), hub=hub.url)
    last = await node.pull("m", source=SOURCE)
    assert (last.stage, last.origin, last.sha256) == ("done", "127.0.0.1", sha256(DATA))


async def test_where_the_hub_does_not_answer_the_name_must_do(home: Any, unused_tcp_port: int) -> None:
    node = home(ScriptedPeers(a=DATA), peer("a"), hub=f"http://127.0.0.1:{unused_tcp_port}")
    assert (await node.pull("m", source=SOURCE)).origin == "a"


async def test_another_file_under_a_name_that_is_being_fetched_is_refused(home: Any) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.gate = asyncio.Event()
    node = home(peers, peer("a"))
    running = node.pulls.follow(PullRequest("m", sha256="a" * 64))
    await anext(running)
    with pytest.raises(InvalidInput, match="another file"):
        await anext(node.pulls.follow(PullRequest("m", sha256="b" * 64)))
    await running.aclose()
    await node.pulls.stop()


@pytest.mark.parametrize("name", [SOURCE, "hf.co/a/b/m.gguf"])
async def test_a_model_comes_from_the_hub_by_its_source_alone(home: Any, hub: StandInHub, name: str) -> None:
    node = home(ScriptedPeers(), hub=hub.url)
    last = await node.pull(name)
    assert (last.stage, last.name, last.origin, last.sha256) == ("done", "m", "127.0.0.1", sha256(DATA))
    assert node.store.path_of("m").read_bytes() == DATA


async def test_a_cut_connection_to_the_hub_is_taken_up_where_it_broke(home: Any, hub: StandInHub) -> None:
    hub.cut_after = [1_000_000, 500_000]
    node = home(ScriptedPeers(), hub=hub.url)
    assert (await node.pull(SOURCE)).stage == "done"
    offsets = [
        int(wanted.removeprefix("bytes=").rstrip("-")) for _, path, wanted in hub.asked if "cdn" in path and wanted
    ]
    assert len(offsets) >= 2
    assert offsets == sorted(set(offsets))
    assert node.store.path_of("m").read_bytes() == DATA


async def test_the_hub_goes_on_where_a_lost_peer_stopped(home: Any, hub: StandInHub) -> None:
    peers = ScriptedPeers(a=DATA)
    peers.breaks[NodeId("a" * 8)] = [1_000_000]
    node = home(peers, peer("a"), hub=hub.url)
    assert (await node.pull("m", source=SOURCE)).origin == "127.0.0.1"
    assert hub.asked[-1][2] == f"bytes={4 << 18}-"


async def test_a_hub_that_lies_about_the_hash_is_found_out(home: Any, hub: StandInHub) -> None:
    hub.lie = sha256(OTHER)
    node = home(ScriptedPeers(), hub=hub.url)
    last = await node.pull(SOURCE)
    assert last.stage == "failed"
    assert f"{sha256(OTHER)} was promised" in last.reason
    assert node.store.names() == []


async def test_without_a_hash_nothing_is_fetched_unless_the_catalog_says_it(home: Any, hub: StandInHub) -> None:
    hub.hide_hash = True
    assert "tells no SHA-256" in (await home(ScriptedPeers(), hub=hub.url).pull(SOURCE)).reason
    assert [path for _, path, _ in hub.asked if "cdn" in path] == []
    listed = CatalogModel(name="m", source=SOURCE, sha256=sha256(DATA))
    assert (await home(ScriptedPeers(), hub=hub.url, catalog=(listed,)).pull()).stage == "done"


async def test_the_catalogs_hash_is_held_against_the_hubs(home: Any, hub: StandInHub) -> None:
    listed = CatalogModel(name="m", source=SOURCE, sha256=sha256(OTHER))
    last = await home(ScriptedPeers(), hub=hub.url, catalog=(listed,)).pull()
    assert "was asked for" in last.reason
    assert [path for _, path, _ in hub.asked if "cdn" in path] == []


async def test_without_a_hub_the_internet_is_left_alone(home: Any) -> None:
    assert "models.hub is empty" in (await home(ScriptedPeers(), hub="").pull(SOURCE)).reason


async def test_what_the_hub_refuses_with_is_told(home: Any, hub: StandInHub) -> None:
    hub.private = True
    assert "hub_token_file" in (await home(ScriptedPeers(), hub=hub.url).pull(SOURCE)).reason
    hub.pause_s = "30"
    assert "a pause of 30 s" in (await home(ScriptedPeers(), hub=hub.url).pull(SOURCE)).reason
