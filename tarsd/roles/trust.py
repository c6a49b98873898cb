"""What every node does for the trust between nodes: it keeps its certificate, and takes what the core authority says.

Rules
1. A core node renews its certificate itself, also after its end; a lab node asks a core node.
2. A core node that was off while authorities were replaced fetches the new ones before anything else, from one that has
   them, and says again whom it had revoked by the old ones. Before that it hands out nothing.
3. Keys of authorities go to core nodes only, and are taken by core nodes only.
4. Revoking and replacing authorities are core nodes' (`roles.revoking`, `roles.rotation`); how the others are told and
   asked is `roles.trust_telling`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from random import Random
from typing import Any

from tarsd import calls
from tarsd.calls import (
    AuthoritiesItem,
    AuthoritiesRequest,
    RenewItem,
    RenewRequest,
    TrustItem,
    TrustRequest,
)
from tarsd.errors import NotAllowed, TarsdError, Unavailable
from tarsd.identity import issuers, reissue, renew, request_renewal, take_renewal
from tarsd.identity.folder import Signed
from tarsd.identity.identity import read_file
from tarsd.identity.renewal import alarm, is_due, next_look_s
from tarsd.identity.rotation import has_root, read_state
from tarsd.names import Capability, NodeId, Zone
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.revoking import NOT_YET, RevokeReport, Revoking, refuse_where_no_authority, sign
from tarsd.roles.rotation import Rotation, RotationReport, report_of
from tarsd.roles.trust_telling import TrustTelling
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

LOOK_AT_NOTICES_S = 1.0
WARN_EVERY_S = 12 * 3600.0


class Trust(Role):
    """Offers `trust`; on core nodes `renew` and `authorities` too. `rotate_keys` renews the keys of the datagrams."""

    name = "trust"

    def __init__(
        self,
        services: Services,
        *,
        certified: Callable[[], Mapping[NodeId, Zone]] = dict,
        rotate_keys: Callable[[], None] = lambda: None,
        rng: Random | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._services = services
        self._identity = services.identity
        self._dispatch = services.dispatch
        self._certified_here = certified
        self._rotate_keys = rotate_keys
        self._rng = rng or Random()  # noqa: S311 - spreads load, keeps no secret
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._failures = 0
        self._told_at = 0.0
        self._told = ""
        self._minimum = self._identity.notices.minimum
        self._renewing = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._telling = TrustTelling(services, certified)
        self._revoking = Revoking(self._identity, services.members, self._telling.tell, self._fetch_authorities, now)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        served: dict[Capability, Handler] = {calls.TRUST.name: self._trust}
        if self._identity.zone is Zone.CORE:
            served |= {calls.RENEW.name: self._renew, calls.AUTHORITIES.name: self._authorities}
        return served

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {name: {} for name in self.handlers()}

    async def start(self) -> None:
        """See `Role`."""
        self._task = asyncio.create_task(self._keep(), name="trust")

    async def stop(self) -> None:
        """See `Role`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def problems(self) -> list[str]:
        """See `Role`."""
        return ["trust: its task ended"] if self._task is not None and self._task.done() else []

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        identity = self._identity
        return {
            "zone": str(identity.zone),
            "certificate_ends": time.strftime("%Y-%m-%d %H:%M", time.localtime(identity.not_after)),
            "authority": identity.issuer,
            "revoked": [revocation.name for revocation in identity.notices.revoked()],
            "note": self.note(),
        }

    def note(self) -> str:
        """Return what people should know: it is revoked, its certificate ends, a file was damaged; empty = nothing."""
        own, ends = self._identity.notices.own, self._identity.not_after
        if own is not None:
            return f"{own.sentence}. The others refuse this node; people here are still served"
        told = alarm(ends, self._now(), renews_itself=self._identity.can_invite)
        return "; ".join(part for part in (told, self._identity.notices.problem) if part)

    # --- keeping the certificate ----------------------------------------------------------------------------------

    async def _keep(self) -> None:
        next_look = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._see_notices()
            except (TarsdError, OSError) as error:
                log.warning("the keys of the datagrams were not renewed: %s", error)
            if self._wake.is_set() or loop.time() >= next_look:
                self._wake.clear()
                await self.look()
                next_look = loop.time() + next_look_s(self._failures, self._rng)
            await asyncio.sleep(LOOK_AT_NOTICES_S)

    def _see_notices(self) -> None:
        """Do at once what a notice asks of this node, whichever way it came."""
        minimum = self._identity.notices.minimum
        if minimum != self._minimum:
            self._minimum = minimum
            self._wake.set()
            self._rotate_keys()

    async def look(self) -> None:
        """Renew this node's certificate where that is due; tell people where it fails."""
        try:
            if self._identity.notices.own is None:
                await self._fetch_authorities()
                if await self._renewed():
                    log.info("this node's certificate was renewed")
                if self._identity.can_invite:
                    minimum = self._identity.notices.minimum
                    await asyncio.to_thread(issuers.discard_before, self._identity.folder, minimum)
            self._failures = 0
        except (TarsdError, OSError) as error:
            log.log(
                logging.DEBUG if self._failures else logging.WARNING,
                "this node's certificate was not renewed: %s",
                error,
            )
            self._failures += 1
        self._warn()

    async def _fetch_authorities(self) -> None:
        """Rule 2; raises `Unavailable` while nobody has them."""
        identity = self._identity
        if not identity.can_invite:
            return
        if issuers.using(identity.folder) < identity.notices.minimum:
            if issuers.installed(identity.folder) < identity.notices.minimum:
                others = frozenset({identity.node_id})  # not of ourselves
                item = await self._dispatch.one(calls.AUTHORITIES, AuthoritiesRequest(), exclude=others)
                await asyncio.to_thread(self._install, item.authorities)
            if issuers.installed(identity.folder) < identity.notices.minimum:
                raise Unavailable(NOT_YET)
            await asyncio.to_thread(issuers.use, identity.folder, issuers.installed(identity.folder))
        unbelieved = identity.notices.unbelieved()
        for revocation in unbelieved:
            identity.notices.say(await asyncio.to_thread(sign, identity, revocation))
        if unbelieved:
            await asyncio.to_thread(identity.notices.save)

    async def _renewed(self) -> bool:
        identity = self._identity
        async with self._renewing:
            if not await asyncio.to_thread(is_due, identity, now=self._now()):
                return False
            if identity.can_invite:
                return await asyncio.to_thread(renew, identity, now=self._now())
            await self._renew_elsewhere()
            return True

    async def _renew_elsewhere(self) -> None:
        """Have a core node renew this node's certificate, and use it; holds under `_renewing`."""
        identity = self._identity
        request = RenewRequest(await asyncio.to_thread(request_renewal, identity))
        item = await self._dispatch.one(calls.RENEW, request, exclude=frozenset({identity.node_id}))
        await asyncio.to_thread(take_renewal, identity, item.chain)

    def _warn(self) -> None:
        told, now = self.note(), self._now()
        if told and (told != self._told or now - self._told_at >= WARN_EVERY_S):
            self._told, self._told_at = told, now
            log.warning("%s", told)

    def _install(self, authorities: Mapping[Zone, tuple[bytes, bytes]]) -> int:
        identity = self._identity
        signed = {zone: Signed(*pair) for zone, pair in authorities.items()}
        return issuers.install(identity.folder, signed, read_file(identity.folder / "root.crt"))

    # --- what others ask ------------------------------------------------------------------------------------------

    async def _trust(self, request: TrustRequest, context: CallContext) -> AsyncGenerator[TrustItem, None]:
        identity = self._identity
        if request.authorities:
            if identity.zone is not Zone.CORE:
                raise NotAllowed("this is a lab node: it takes no keys of authorities")
            await asyncio.to_thread(self._install, request.authorities)
        if request.use:
            await self._use(request.use)
        if request.notices:
            identity.notices.take(request.notices)
            await asyncio.to_thread(identity.notices.save)
        yield TrustItem(
            digest=identity.notices.digest,
            issuer=identity.issuer,
            installed=await asyncio.to_thread(issuers.installed, identity.folder),
            has_root=await asyncio.to_thread(has_root, identity.folder),
            certified=dict(self._certified_here()) if request.who else {},
        )

    async def _use(self, generation: int) -> None:
        """Have a certificate of this generation of authorities from now on."""
        identity = self._identity
        if identity.zone is Zone.CORE:
            if issuers.using(identity.folder) < generation:
                await asyncio.to_thread(issuers.use, identity.folder, generation)
            await self._renewed()
            return
        async with self._renewing:
            if identity.issuer < generation:
                await self._renew_elsewhere()

    async def _renew(self, request: RenewRequest, context: CallContext) -> AsyncGenerator[RenewItem, None]:
        if context.caller is None:
            raise NotAllowed("a core node renews its certificate by itself")
        self._refuse_while_retired()
        identity = self._identity
        chain = await asyncio.to_thread(reissue, identity.data_dir, context.caller, request.request, now=self._now())
        log.info("the certificate of %s was renewed", context.caller.name)
        yield RenewItem(chain)

    async def _authorities(
        self, request: AuthoritiesRequest, context: CallContext
    ) -> AsyncGenerator[AuthoritiesItem, None]:
        folder = self._identity.folder
        if context.caller is None or context.caller.zone is not Zone.CORE or not self._identity.can_invite:
            raise NotAllowed("keys of authorities are for core nodes")
        self._refuse_while_retired()
        found = await asyncio.to_thread(issuers.read_issuers, folder, issuers.using(folder))
        log.warning("%s fetched the authorities that it had missed", context.caller.name)
        yield AuthoritiesItem({zone: (signed.certificate, signed.key) for zone, signed in found.items()})

    def _refuse_while_retired(self) -> None:
        """Let the caller ask another core node: what is signed here now would be good for nothing."""
        if issuers.using(self._identity.folder) < self._identity.notices.minimum:
            raise Unavailable(NOT_YET)

    # --- what people ask ------------------------------------------------------------------------------------------

    async def revoke(self, name: str, reason: str = "") -> RevokeReport:
        """Throw a node out for good; see `Revoking.revoke`."""
        return await self._revoking.revoke(name, reason)

    async def rotate(self) -> RotationReport:
        """Replace the authorities, or go on with that where it stopped; see `roles.rotation`."""
        refuse_where_no_authority(self._identity)
        async with self._changing:
            members = self._services.members
            telling = self._telling
            return await Rotation(self._identity, members, telling.tell, self._renewed, telling.certified).run()

    async def rotation(self) -> RotationReport:
        """Return how far a replacement of authorities is that began here, and which core nodes would take part."""
        refuse_where_no_authority(self._identity)
        state = await asyncio.to_thread(read_state, self._identity.folder)
        certified, root_at = await self._telling.certified(), await self._telling.where_root_is()
        return report_of(self._identity, state, self._services.members(), certified, root_at)
