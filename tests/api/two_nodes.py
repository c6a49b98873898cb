"""Two API servers on loopback whose nodes know each other; their hosts are scripted."""

from __future__ import annotations

from typing import Any

from tarsd.passes import PassBook
from tests.api import scripted_services as scripted
from tests.api.scripted_services import ScriptedHost, member


class Pair:
    """Two nodes on loopback that know each other: `near` serves the page, `far` is its peer."""

    def __init__(self, serve: Any) -> None:
        self._serve = serve
        self._members: dict[str, list[Any]] = {"pc1": [], "pc3": []}
        self._passes = PassBook()
        self.near: Any = None
        self.far: Any = None

    def members(self, own: str) -> list[Any]:
        """The members as one of them sees them; a test may change them."""
        return self._members[own]

    async def start(self, near: ScriptedHost, far: ScriptedHost, **far_options: Any) -> None:
        self.near = await self.serve("pc1", near)
        self.far = await self.serve("pc3", far, **far_options)
        for own, members in self._members.items():
            members += [
                member("pc1", is_self=own == "pc1", api=(self.near.url,)),
                member("pc3", is_self=own == "pc3", api=(self.far.url,)),
            ]

    async def serve(self, name: str, host: ScriptedHost, port: int = 0, **options: Any) -> Any:
        """Serve a node; both know the same passes, as if they had told each other of theirs."""
        members = self._members[name]
        known: dict[str, Any] = {"settings": scripted.settings(port=port), "passes": self._passes} | options
        return await self._serve(host, node_name=name, members=lambda: tuple(members), **known)
