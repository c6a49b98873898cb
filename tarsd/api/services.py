"""What the client API stands on: everything it may use of the node, handed in by the composition root.

The API decides nothing about questions or members; it turns HTTP and WebSocket into calls of these and back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from aiohttp import web

from tarsd.calls import CallSpec, ItemT, RequestT
from tarsd.config import Api
from tarsd.dispatch import Upload
from tarsd.gossip.member import Member
from tarsd.host.events import Event, Question
from tarsd.names import ConversationId, NodeId, TraceId, Zone
from tarsd.passes import PassBook

ItemT_co = TypeVar("ItemT_co", bound=msgspec.Struct, covariant=True)


class HostLike(Protocol):
    """The journey of a question; `tarsd.host` is the real one."""

    def ask(self, question: Question) -> AsyncGenerator[Event, None]:
        """Yield the events of an answer; `aclose()` says that the reader left and cancels the generation."""
        ...


class CallLike(Protocol[ItemT_co]):
    """A running call: iterate it for the items (they raise a `TarsdError`), `aclose()` to cancel it."""

    @property
    def member(self) -> Member | None:
        """Who serves it, from the first item on."""
        ...

    def __aiter__(self) -> AsyncIterator[ItemT_co]: ...

    def aclose(self) -> Awaitable[None]:
        """Cancel the call."""
        ...


class DispatchLike(Protocol):
    """ "Do this capability", here or at a peer; `tarsd.dispatch` is the real one."""

    def call(
        self,
        spec: CallSpec[RequestT, ItemT],
        request: RequestT,
        *,
        trace: TraceId = ...,
        deadline_s: float | None = None,
        upload: Upload | None = None,
        only: NodeId | None = None,
        exclude: frozenset[NodeId] = frozenset(),
        conversation: ConversationId = ...,
        again: bool = False,
    ) -> CallLike[ItemT]:
        """Return the running call.

        `only` asks one node and no other, `conversation` prefers who answered it last, `again` repeats a lost call.
        """
        ...


class TrustLike(Protocol):
    """What decides about trust; `tarsd.roles.trust` is the real one. Reports are structs, told as JSON."""

    async def revoke(self, name: str, reason: str = "") -> msgspec.Struct:
        """Throw a node out for good."""
        ...

    async def rotate(self) -> msgspec.Struct:
        """Replace the authorities, or go on with that."""
        ...

    async def rotation(self) -> msgspec.Struct:
        """Return how far that is."""
        ...


def _no_problems() -> list[str]:
    return []


def _nothing_changes(callback: Callable[[Member], None]) -> Callable[[], None]:
    return lambda: None


@dataclass(frozen=True, kw_only=True)
class ApiServices:
    """The node as the API sees it.

    `models`: names of the chat models alive in the cluster. `invite`: makes a join token for a zone, valid so many
    seconds. `metrics_text`: the Prometheus exposition. `problems`: why the node is not healthy; empty = healthy.
    `subscribe`: calls back with each member that changed, until what it returns is called.
    `passes`: which passes of other nodes' sessions open the chat here.
    `data_dir`: uploads are spooled below it, and `api.url` there tells the CLI the bound address.
    `trust`: revokes nodes and replaces authorities. `backup`: makes a backup and tells where it is.
    `admin_token` opens invite, nightly, revoke and rotate. `access_token` opens everything else where the API listens
    beyond loopback; where it is empty there, only the admin token opens anything.
    """

    node_name: str
    version: str
    data_dir: Path
    host: HostLike
    dispatch: DispatchLike
    members: Callable[[], tuple[Member, ...]]
    models: Callable[[], list[str]]
    invite: Callable[[Zone, float], Awaitable[str]]
    metrics_text: Callable[[], bytes]
    admin_token: str
    access_token: str = ""
    problems: Callable[[], list[str]] = _no_problems
    trust: TrustLike | None = None
    backup: Callable[[], Awaitable[msgspec.Struct]] | None = None
    subscribe: Callable[[Callable[[Member], None]], Callable[[], None]] = _nothing_changes
    passes: PassBook = field(default_factory=PassBook)


SERVICES = web.AppKey("services", ApiServices)
SETTINGS = web.AppKey("settings", Api)
