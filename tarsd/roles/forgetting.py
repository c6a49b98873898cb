"""Forgets for people, on every node, and gives a receipt. Every core node does this, whatever its roles.

Rules
1. A person forgets only what that person may see; of anything else nothing is said but that it is not known.
2. What goes along is `memory.closure`'s to say. Erasing, what is rewritten and the receipt are one commit.
3. Every core node that is there is asked to obey at once; the others obey when they get the records, and say so in
   the records (`obeying`), so that every node can show the receipt as it stands.
4. A receipt holds keys, never a text, and who could see what lay at each of them: they alone are shown it.
5. What this node made of it before it heard goes along when it hears, before it says that it obeyed: what names it
   (`closure.late`), and summaries that tell it in words (`retold`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from tarsd import calls
from tarsd.calls import (
    ForgetItem,
    ForgetRequest,
    ObeyRequest,
    Removed,
    Who,
)
from tarsd.errors import InvalidInput, NotFound, Overloaded, TarsdError
from tarsd.gossip.member import Member, State
from tarsd.memory import bodies
from tarsd.memory.access import is_member, may_see, persons_who_see
from tarsd.memory.bodies import (
    RECEIPT,
    RECEIPT_PART,
    SUMMARY,
    Body,
    DocumentBody,
    MemoryBody,
    ProjectBody,
    ReceiptBody,
    ReceiptPartBody,
    SummaryBody,
    key_of,
    receipt_key,
)
from tarsd.memory.closure import Closure, Remembered, Target, late
from tarsd.memory.forgetting import Forgotten, LetGo
from tarsd.memory.forgetting_files import delete_files
from tarsd.memory.gathering import gather
from tarsd.memory.retold import retold
from tarsd.memory.store import Entry
from tarsd.names import Capability, NodeId
from tarsd.planning.receipts import (
    NOT_YET,
    Audience,
    listing,
    nodes_to_obey,
    receipt_item,
    removed_of,
    still_to_obey,
    with_keys,
)
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.obeying import Obeying, Part
from tarsd.roles.receipts import Receipts
from tarsd.rpc import CallContext, Handler

_BodyT = TypeVar("_BodyT")

MAX_LOOKS = 5
OBEY_S = 10.0  # what a node that is there is given; one that needs longer is pending in the receipt


class _Along(NamedTuple):
    """What goes along, the summaries that are to go on as they were read, and who could see what lies at each key."""

    found: Closure
    read: dict[str, Body]
    seen_by: dict[str, Audience]


class Forgetting(Role):
    """Offers `forget`, `receipts` and `obey`.

    `catch_up` fetches what a node has more than we; `parts` hold copies outside the records, and let go of them.
    """

    name = "forgetting"

    def __init__(
        self, services: Services, catch_up: Callable[[NodeId], Awaitable[object]], parts: Sequence[Part] = ()
    ) -> None:
        self._services = services
        self._catch_up = catch_up
        self._store = services.store
        self._receipts = Receipts(services.store, self._members)
        self._obeying = Obeying(
            services, [*parts, self._delete_leftovers, self._forget_what_was_made_of_it, self._forget_what_was_retold]
        )

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.FORGET.name: self._forget,
            calls.RECEIPTS.name: self._receipts.shown,
            calls.OBEY.name: self._obey,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {name: {} for name in self.handlers()}

    async def start(self) -> None:
        """See `Role`."""
        await self._obeying.start()

    async def stop(self) -> None:
        """See `Role`."""
        await self._obeying.stop()

    def problems(self) -> list[str]:
        """See `Role`."""
        return ["forgetting: the task that obeys ended"] if self._obeying.ended else []

    # --- forgetting -------------------------------------------------------------------------------------------

    async def _forget(self, request: ForgetRequest, context: CallContext) -> AsyncGenerator[ForgetItem, None]:
        if bool(request.key) == bool(request.conversation):
            raise InvalidInput("key: give either a key or a conversation")
        if request.preview:
            yield listing("", (await self._what_goes_along(request)).found.keys, [])
            return
        yield await self._everywhere(*await self._forgotten(request))

    async def _forgotten(self, request: ForgetRequest) -> tuple[ReceiptBody, list[ReceiptPartBody]]:
        """Erase it here and write the receipt; what was written anew meanwhile is looked at again."""
        identity = self._services.identity
        nodes = nodes_to_obey(self._services.members(), await self._store.vector())
        nodes[identity.node_id] = identity.name
        for _ in range(MAX_LOOKS):
            along = await self._what_goes_along(request)
            person = None if request.who.sees_all else request.who.person
            receipt = ReceiptBody(secrets.token_hex(8), [], nodes, time.time(), person=person)
            receipt, parts = with_keys(receipt, along.seen_by)
            entries: list[Entry] = [(SUMMARY, "", body) for body in along.found.rewritten.values()]
            entries += [*((RECEIPT_PART, "", part) for part in parts), (RECEIPT, "", receipt)]
            if await self._store.forget_as_read(along.found.keys, entries, along.read) is not None:
                return receipt, parts
        raise Overloaded("what tells it is being written anew all the time; try again", retry_after_s=1)

    async def _what_goes_along(self, request: ForgetRequest) -> _Along:
        projects = {body.id: body for body in await self._bodies("project", ProjectBody)}
        target = await self._target(request, projects)
        found, read = await gather(self._store, target, lambda body: may_see(request.who, body, projects))
        if request.conversation:
            await self._refuse_what_is_anothers(request.who, found.forgotten, projects)
        known: dict[str, Body] = {**read, **{key_of(body): body for body in projects.values()}}
        return _Along(
            found,
            {key: known[key] for key in found.rewritten},
            {key: _seen_by(key, known.get(key), projects) for key in found.keys},
        )

    async def _bodies(self, kind: str, shape: type[_BodyT]) -> list[_BodyT]:
        return [body for body in await self._store.bodies_below(kind) if isinstance(body, shape)]

    async def _target(self, request: ForgetRequest, projects: Mapping[str, ProjectBody]) -> Target:
        """Return what is named, when this person may forget it (rule 1)."""
        if request.conversation:
            whose = None if request.who.sees_all else request.who.person
            return Target(conversation=request.conversation, person=whose)
        kind, _, _ = request.key.partition("/")
        if kind not in ("memory", "summary", "project", "document"):
            raise InvalidInput(f"key: {request.key[:80]!r} is no memory, summary, project or document")
        body = await self._store.body_of(request.key)
        match body:
            case MemoryBody() | SummaryBody() if may_see(request.who, body, projects):
                return Target(request.key)
            case ProjectBody() if is_member(request.who, body):
                return Target(request.key)
            case DocumentBody():
                return Target(request.key, file=body.file, passages=await self._store.texts_of(body.sha256))
            case None if kind == "document" and await self._store.is_known(request.key):
                return Target(request.key)  # passages that came before their document, or what a cut-off ingest left
        raise NotFound(f"nothing is known of {request.key[:80]}")

    async def _refuse_what_is_anothers(
        self, who: Who, keys: Sequence[str], projects: Mapping[str, ProjectBody]
    ) -> None:
        for key in keys:
            body = await self._store.body_of(key)
            if isinstance(body, MemoryBody | SummaryBody) and not may_see(who, body, projects):
                raise NotFound("nothing is known of that conversation")

    async def _everywhere(self, receipt: ReceiptBody, parts: Sequence[ReceiptPartBody]) -> ForgetItem:
        """Have it obeyed here and by every core node that is there; return the receipt."""
        others = [member for member in self._services.members() if self._is_there(member)]
        own, *found = await asyncio.gather(
            self._answer(receipt.id), *(self._ask(member, receipt.id) for member in others)
        )
        said = {str(member.node): removed for member, removed in zip(others, found, strict=True)}
        said[self._services.identity.node_id] = own
        return receipt_item(receipt, parts, said, self._members())

    async def _ask(self, member: Member, receipt: str) -> Removed:
        try:
            call = self._services.dispatch.call(calls.OBEY, ObeyRequest(receipt), only=member.node, deadline_s=OBEY_S)
            return await call.one()
        except TarsdError as error:
            return still_to_obey(member.name, member, str(error))

    def _is_there(self, member: Member) -> bool:
        return not member.is_self and member.state is State.ALIVE and calls.OBEY.name in member.capabilities

    def _members(self) -> dict[NodeId, Member]:
        return {member.node: member for member in self._services.members()}

    # --- obeying ----------------------------------------------------------------------------------------------

    async def _obey(self, request: ObeyRequest, context: CallContext) -> AsyncGenerator[Removed, None]:
        if await self._store.body_of(receipt_key(request.receipt)) is None and context.caller is not None:
            await self._catch_up(context.caller.node_id)  # the receipt is at the end of its chain
        yield await self._answer(request.receipt)

    async def _answer(self, receipt: str) -> Removed:
        said, name = await self._obeying.answer(receipt), self._services.identity.name
        return removed_of(said) if said else Removed(name, "pending", reason=self._obeying.problem or NOT_YET)

    async def _delete_leftovers(self, forgotten: Forgotten) -> LetGo:
        """Delete the vectors' files of a node that had the role `processing` and has it no more: nobody cleans them."""
        node = self._services.config.node
        if "processing" not in node.roles:
            await asyncio.to_thread(delete_files, node.data_dir / "vectors", lambda file: False)
        return LetGo()

    async def _forget_what_was_made_of_it(self, forgotten: Forgotten) -> LetGo:
        """See rule 5: a night, a talk or a correction may have gone on with it, here and in a split, or meanwhile."""
        graves = {text.key for text in forgotten.texts}  # of what never was here, nothing was made here
        graves |= {key for key in forgotten.graves if forgotten.was_cut_off or key.startswith("conversation/")}
        known: dict[str, Remembered] = {}
        asked: set[str] = set()
        read = [bodies.read(text.kind, text.key, text.body) for text in forgotten.texts]
        texts = {key_of(body): body.text for body in read if isinstance(body, MemoryBody | SummaryBody)}
        found = Closure([], {})
        while fresh := [key for key in (*graves, *found.forgotten) if key not in asked]:
            asked.update(fresh)
            known |= {key_of(body): body for body in await self._store.naming(fresh)}
            found = await asyncio.to_thread(late, graves, texts, list(known.values()))
        if found.keys:
            entries: list[Entry] = [(SUMMARY, "", body) for body in found.rewritten.values()]
            before: dict[str, Body] = {key: known[key] for key in found.rewritten}
            if await self._store.forget_as_read(found.keys, entries, before) is None:
                return LetGo(problem="what was made of it is being written anew; it is looked at again")
        return LetGo()

    async def _forget_what_was_retold(self, forgotten: Forgotten) -> LetGo:
        """See rule 5: nothing links to it."""
        read = [bodies.read(text.kind, text.key, text.body) for text in forgotten.texts]
        gone = [body for body in read if isinstance(body, MemoryBody)]
        if not gone:
            return LetGo()
        me = self._services.identity.node_id
        keys = [key_of(body) for body in await self._bodies("summary", SummaryBody)]
        own = [
            version.body
            for version in (await self._store.shown(keys)).values()
            if isinstance(version.body, SummaryBody) and version.record.partition(".")[0] == me
        ]
        known: dict[str, Body] = {key_of(body): body for body in own}
        older = [body for body in await self._store.older_summaries() if key_of(body) in known]
        found = await asyncio.to_thread(retold, gone, own, older, await self._store.project_bodies())
        entries: list[Entry] = [(SUMMARY, "", body) for body in found.rewritten.values()]
        before = {key: known[key] for key in found.rewritten}
        if found.keys and await self._store.forget_as_read(found.keys, entries, before) is None:
            return LetGo(problem="what tells it is being written anew; it is looked at again")
        return LetGo()


def _seen_by(key: str, body: Body | None, projects: Mapping[str, ProjectBody]) -> Audience:
    kind, _, rest = key.partition("/")
    if kind == "document":
        return None
    if kind == "conversation":
        _, _, person = rest.rpartition("/") if "/" in rest else ("", "", None)
        return frozenset() if person is None else frozenset(("" if person == "-" else person,))
    return persons_who_see(body, projects)
