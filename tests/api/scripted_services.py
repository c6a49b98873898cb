"""A scripted host and dispatch for the tests of the API: they follow a script, and keep what they were asked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tarsd import calls
from tarsd.api.services import ApiServices
from tarsd.config import Api
from tarsd.errors import TarsdError, Unavailable
from tarsd.gossip.member import Load, Member, State
from tarsd.host import events
from tarsd.names import Capability, NodeId, NodeName, Route, TraceId, Zone

ROUTE = events.RouteEvent(Route.NEEDS_CONTEXT, "pc2", "en", ["asks about a document"], TraceId("ab" * 8))
SOURCES = events.SourcesEvent(
    [
        events.Source(
            1, "boiler-manual.pdf", 3, 0, 74, "Keep the pressure between 1.2 and 1.8 bar when the system is cold.", "d1"
        ),
        events.Source(2, "notas.md", 0, 10, 60, "La caldera se revisó el 12 de marzo de 2026.", "d2"),
    ]
)
DONE = events.DoneEvent("stop", "pc1", "pc2", "llama_cpp", "tiny-model", [], calls.Usage(42, 7), 0.12, 0.8)


def answer(*words: str) -> list[events.Event]:
    """The events of an ordinary answer."""
    return [ROUTE, SOURCES, *(events.TokenEvent(word) for word in words), DONE]


@dataclass
class ScriptedHost:
    """Yields the script's events; after `hang_after` of them it waits to be closed, and then for `let_go`."""

    script: Sequence[events.Event] = field(default_factory=lambda: answer("Between ", "1.2 and 1.8 bar [1]."))
    hang_after: int | None = None
    pace_s: float = 0.0
    asked: list[events.Question] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event | None = None

    async def ask(self, question: events.Question) -> AsyncGenerator[events.Event, None]:
        self.asked.append(question)
        try:
            for number, event in enumerate(self.script):
                if number == self.hang_after:
                    await asyncio.Event().wait()
                if self.pace_s:
                    await asyncio.sleep(self.pace_s)
                yield event
            self.ended.set()
        except (asyncio.CancelledError, GeneratorExit):
            self.left.set()
            if self.let_go is not None:
                await self.let_go.wait()
            raise


@dataclass
class ScriptedCall:
    """A call whose items are scripted; an error among them is raised."""

    items: Sequence[Any]
    member: Member | None
    tried: frozenset[NodeId] = frozenset()
    upload: Callable[[], AsyncIterator[bytes]] | None = None
    closed: bool = False
    received: bytes = b""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __aiter__(self) -> AsyncIterator[Any]:
        self._running = self._run()
        return self._running

    async def _run(self) -> AsyncGenerator[Any, None]:
        if self.upload is not None:
            self.received = b"".join([chunk async for chunk in self.upload()])
        for item in self.items:
            if isinstance(item, TarsdError):
                raise item
            if item is HANG:
                await asyncio.Event().wait()
            yield item

    async def aclose(self) -> None:
        self.closed = True
        self.ended.set()
        if hasattr(self, "_running"):
            await self._running.aclose()


HANG = object()


@dataclass
class ScriptedDispatch:
    """Answers each capability with the items that `replies` has for it: a sequence, or a function of the request."""

    replies: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, Any, dict[str, Any]]] = field(default_factory=list)
    made: list[ScriptedCall] = field(default_factory=list)

    def call(self, spec: Any, request: Any, *, upload: Any = None, **options: Any) -> ScriptedCall:
        self.calls.append((spec.name, request, options))
        items = self.replies.get(spec.name, [Unavailable(f"no node offers {spec.name} right now")])
        items = items(request) if callable(items) else items
        if options.get("only") == NodeId("f" * 32):
            items = [Unavailable("pc9 does not answer")]
        self.made.append(ScriptedCall(items, member("pc2"), upload=upload))
        return self.made[-1]


def member(name: str, *, is_self: bool = False, state: State = State.ALIVE, **changes: Any) -> Member:
    """A member of a cluster."""
    known: dict[str, Any] = {
        "node": NodeId(hashlib.sha256(name.encode()).hexdigest()[:32]),
        "name": NodeName(name),
        "zone": Zone.CORE,
        "state": state,
        "addresses": (("192.168.1.20", 7710), ("fd00::1", 7710)),
        "generation": 1,
        "incarnation": 1,
        "capabilities": {Capability("chat"): {"model": "tiny-model"}},
        "roles": ("cognitive",),
        "load": Load(running=1, tokens_per_s=41.0),
        "load_age_s": 0.2,
        "since_s": 60.0,
        "last_heard_s": 0.3,
        "rtt_ms": 0.4,
        "loss": 0.0,
        "reason": "",
        "version": "0.1.0",
        "is_self": is_self,
    }
    return Member(**(known | changes))


MEMBERS = (
    member(
        "pc2",
        roles=("processing", "orchestrator"),
        capabilities={Capability("search"): {}, Capability("jobs"): {}},
        load=Load(queued=2),
    ),
    member("pc1", is_self=True),
    member("pc3", state=State.SUSPECT, reason="two probes lost"),
    member("pc9", state=State.DEAD, reason="no answer for 8 s", load=None, node=NodeId("f" * 32), last_heard_s=300.0),
)


def services(data_dir: Path, host: Any, dispatch: Any, **changes: Any) -> ApiServices:
    """What a server of the tests stands on."""

    async def invite(zone: Zone, expires_s: float) -> str:
        return f"tars1.{zone}.{expires_s:.0f}"

    known: dict[str, Any] = {
        "node_name": "pc1",
        "version": "0.1.0",
        "data_dir": data_dir,
        "host": host,
        "dispatch": dispatch,
        "members": lambda: MEMBERS,
        "models": lambda: ["tiny-model", "org/other"],
        "invite": invite,
        "metrics_text": lambda: b"tarsd_up 1\n",
        "admin_token": "the-admin-token",
    }
    return ApiServices(**(known | changes))


def status(name: str = "pc1", *, healthy: bool = True) -> calls.StatusItem:
    """A node's account of itself."""
    problems = [] if healthy else ["disk is full"]
    parts = {"memory": {"documents": 3}, "nightly": {"next": "03:00"}}
    return calls.StatusItem(NodeId("a" * 32), NodeName(name), "0.1.0", ["cognitive"], 7300.0, healthy, problems, parts)


HIT = calls.Hit(
    calls.Passage("o:1", "d1", "boiler-manual.pdf", 3, 0, 20, "Keep the pressure between 1.2 and 1.8 bar."),
    0.9,
    ["keywords"],
)
SEARCH = calls.SearchItem([HIT], "vectors: worker is loading")
INGEST = [
    calls.IngestItem("j1", "a.md", "queued"),
    calls.IngestItem("j1", "a.md", "parsing", 1, 2),
    calls.IngestItem("j1", "a.md", "done", 2, 2, "d1", 5),
]


def settings(**changes: Any) -> Api:
    """The API's settings on a free port."""
    return Api(**({"port": 0} | changes))
