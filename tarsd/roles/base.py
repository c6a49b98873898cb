"""What a role is, and what a node gives it.

A role offers handlers by capability name and asks others through `dispatch`; it never imports another role.
Third parties add one by an entry point in the group `tarsd.roles`: a class that is built with `Services`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from tarsd.calls import Copies, Record
from tarsd.config import Config
from tarsd.dispatch import Dispatch
from tarsd.gossip.member import Member
from tarsd.identity import Identity
from tarsd.memory.bodies import DiaryChange
from tarsd.memory.forgetting import Forgotten, LetGo
from tarsd.memory.store import Store
from tarsd.names import Capability
from tarsd.rpc import Handler

Attributes = Mapping[str, str | int | float | bool | list[str]]


async def _on_this_disk(records: Sequence[Record]) -> Copies:
    return Copies()


@dataclass(frozen=True)
class Services:
    """What a node gives its roles."""

    config: Config
    identity: Identity
    store: Store
    dispatch: Dispatch
    members: Callable[[], Sequence[Member]]
    before_load: Callable[[], None] = lambda: None  # to be told before a model is loaded: it may freeze a small PC
    # to be awaited after a write: returns when it is on disk at `memory.copies` core nodes, or after `copies_wait_ms`
    confirm: Callable[[Sequence[Record]], Awaitable[Copies]] = _on_this_disk
    changed: Callable[[], None] = lambda: None  # to be told when what a role advertises has changed


class RoleLoad(NamedTuple):
    """How busy a role is: questions waiting and running, the speed of its model (0 = not measured), answers at once."""

    queued: int = 0
    running: int = 0
    tokens_per_s: float = 0.0
    slots: int = 1


class JobResult(NamedTuple):
    """What one part of a nightly job did: how many things changed, and a sentence. `ok` False = it needs a person."""

    changed: int
    detail: str
    ok: bool = True


class WorkerView(Protocol):
    """What is watched of a worker."""

    @property
    def restarts(self) -> int:
        """How often it was started again."""

    def rss_bytes(self) -> int:
        """Its resident memory; 0 while it is away."""


class Night(Protocol):
    """What a part of a nightly job is given; see `roles.nightly`."""

    job: str
    began: datetime  # local time; of the night's first beginning where it was cut off
    is_asked_for: bool  # a person asked for it: it runs here, whoever the cluster's node is
    cluster_key: str  # names the node that does the cluster's part

    @property
    def cursor(self) -> str:
        """How far this part came, tonight or in an earlier night; "" at first."""

    async def step(self, cursor: str, said: str = "") -> None:
        """Note how far this part is, then let people's questions go first; to be awaited between small steps."""

    async def intend(self, changes: Sequence[DiaryChange]) -> None:
        """Write into the diary what is about to be changed, so that it can be undone whatever happens next."""

    async def did(self) -> None:
        """Write into the diary which records came of it."""


NightlyPart = Callable[[Night], Awaitable[JobResult]]


class Role:
    """A bundle of capabilities. What a role has nothing to say of, it need not write."""

    name: str

    def handlers(self) -> Mapping[Capability, Handler]:
        """Return the handler of each capability; constant over the role's life."""
        return {}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """Return what can be done right now, with its attributes; gossip tells the others."""
        return {}

    async def start(self) -> None:
        """Begin; what takes long (a model) goes on in the background. Raises `ConfigError`, `StorageError`."""

    async def stop(self) -> None:
        """End within a few seconds; what was accepted is safe on disk or told to its caller."""

    def problems(self) -> list[str]:
        """Return what is wrong with the role now; empty = healthy. A model still loading is not a problem."""
        return []

    def status(self) -> dict[str, Any]:
        """Return the role's own account of itself, as plain data; `ready` False = it cannot do all of its work yet."""
        return {}

    def workers(self) -> Mapping[str, WorkerView]:
        """Return the role's workers by name, as far as they are started."""
        return {}

    def nightly(self) -> Mapping[str, NightlyPart]:
        """Return the role's parts of the nightly jobs (`planning.nightly.JOBS`)."""
        return {}

    async def let_go(self, forgotten: Forgotten) -> LetGo:
        """Let go of what was forgotten, as far as the role holds it outside the records; again is allowed.

        Returns when it is gone, RAM and files alike, within a few seconds; with a `problem` it is asked again.
        """
        return LetGo()

    def load(self) -> RoleLoad:
        """Return how busy the role is."""
        return RoleLoad()
