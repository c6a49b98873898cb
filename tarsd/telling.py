"""Keeps the others up to date about this node: what it can do, where people reach it, how busy it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import chain

from tarsd import __version__
from tarsd.account import Account
from tarsd.api.peers import api_urls
from tarsd.config import Config
from tarsd.gossip.interfaces import own_hosts
from tarsd.gossip.member import Load
from tarsd.gossip.shell import Gossip
from tarsd.names import Capability
from tarsd.roles.base import Attributes, Role
from tarsd.supervision import Supervisor

TELL_EVERY_S = 0.5  # as often as gossip carries it
BUSY_S = 10.0  # the others' patience while a model loads, asked for anew every BUSY_AGAIN_S
BUSY_AGAIN_S = 4.0


class Telling:
    """What this node told last; `api_port` is where people are served, 0 while they are not."""

    def __init__(
        self,
        config: Config,
        roles: Sequence[Role],
        gossip: Gossip,
        account: Account,
        supervisor: Supervisor,
        api_port: Callable[[], int],
    ) -> None:
        self._config = config
        self._roles = roles
        self._gossip = gossip
        self._account = account
        self._supervisor = supervisor
        self._api_port = api_port
        self._advertised: tuple[dict[Capability, Attributes], tuple[str, ...]] | None = None
        self._busy_told_at = -BUSY_AGAIN_S
        self.load = Load()

    async def run(self) -> None:
        """Tell until cancelled; an engine comes and goes without a word."""
        while True:
            self.advertise()
            self.tell_load()
            self._supervisor.status(self._account.status_line())
            if not self._account.is_serving and time.monotonic() - self._busy_told_at >= BUSY_AGAIN_S:
                self.announce_busy()
            await asyncio.sleep(TELL_EVERY_S)

    def advertise(self) -> None:
        """Say what this node can do, where that has changed."""
        adverts = dict(chain.from_iterable(role.adverts().items() for role in self._roles))
        urls = self._people_urls()
        if (adverts, urls) != self._advertised:
            self._advertised = adverts, urls
            self._gossip.advertise(adverts, [str(role) for role in self._config.node.roles], __version__, urls)

    def tell_load(self) -> None:
        """Say how busy this node is."""
        self.load = self._account.load()
        self._gossip.set_load(self.load)

    def drain(self) -> None:
        """Let the others send their new work elsewhere, while what is open here ends."""
        self._account.draining = True
        self.tell_load()

    def announce_busy(self) -> None:
        """Ask the others for patience: loading a model may freeze a small PC for seconds."""
        self._busy_told_at = time.monotonic()
        self._gossip.announce_busy(BUSY_S)

    def _people_urls(self) -> tuple[str, ...]:
        port, settings = self._api_port(), self._config.api
        return api_urls(settings, port, self._config.network.listen, own_hosts([settings.listen])) if port else ()
