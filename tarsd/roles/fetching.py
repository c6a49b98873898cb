"""The pulls of a node: brings model files here, from a peer that has one, and only then from the hub.

One pull a model at a time; who asks for it meanwhile follows it. It goes on when they leave, and ends with the node;
what came is kept, and asked for again it goes on there. How one pull goes: `pull`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from tarsd.calls import PullItem, PullRequest
from tarsd.errors import InvalidInput
from tarsd.models.shelf import Shelf
from tarsd.models.sources import check_name, check_sha256, hub_file, is_hub, name_of
from tarsd.roles.base import Services
from tarsd.roles.pull import Pull
from tarsd.workers.backoff import Backoff


class Pulls:
    """The pulls of a node."""

    def __init__(
        self,
        services: Services,
        shelf: Shelf,
        on_done: Callable[[], None] = lambda: None,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._services = services
        self._shelf = shelf
        self._on_done = on_done
        self._backoff = backoff
        self._running: dict[str, Pull] = {}

    def state_of(self, name: str) -> PullItem | None:
        """Return how far a pull is; None = none is running."""
        pull = self._running.get(name)
        return pull.last if pull is not None else None

    async def follow(self, request: PullRequest) -> AsyncGenerator[PullItem, None]:
        """Yield the progress of a pull, begun if it does not run yet; the last item is done or failed (rule 1).

        Raises `InvalidInput` for what cannot be pulled at all.
        """
        request = _checked(request)
        pull = self._running.get(request.name)
        if pull is not None and pull.is_another(request):
            raise InvalidInput(f"{request.name}: another file is being fetched under this name; wait until it is here")
        if pull is None:
            ended = partial(self._ended, request.name)
            pull = self._running[request.name] = Pull(request, self._services, self._shelf, self._backoff(), ended)
        async with aclosing(pull.follow()) as items:
            async for item in items:
                yield item

    async def stop(self) -> None:
        """End all; what came is kept."""
        tasks = [pull.task for pull in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, name: str) -> None:
        self._running.pop(name, None)
        self._on_done()


def _checked(request: PullRequest) -> PullRequest:
    name, source = request.name, request.source
    if not source and is_hub(name):
        name, source = "", name
    if source and not is_hub(source):
        raise InvalidInput(f"source: {source[:80]!r} is not of the form hf:owner/repository/file.gguf")
    if source:
        name = name or name_of(hub_file(source).path)
    return PullRequest(check_name(name), source, check_sha256(request.sha256))
