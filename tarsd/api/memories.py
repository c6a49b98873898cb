"""What is remembered, over HTTP: list, search, show with evidence, save, edit, forget with a receipt.

    GET    /api/memories[?q=&kind=&sort=&scope=&project=&history=1&limit=&offset=]
    POST   /api/memories        {"text", "sort", "scope", "project", "tags", "valid_from", "valid_until", "language"}
    GET    /api/memories/KEY    one of them; a key such as memory/5f2c… stands in the path as it is
    PATCH  /api/memories/KEY    the fields that change
    DELETE /api/memories/KEY[?preview=1]      the receipt: what was removed where
    GET    /api/receipts[/ID]
    GET    /api/conversations

Whose memories these are is said by the token (`who`). The node that is asked answers itself where it can: who has just
saved something finds it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from tarsd import calls
from tarsd.api.replies import FieldError, Items, json_reply, only_item, query_int, read_json
from tarsd.api.services import SERVICES
from tarsd.api.who import who_looks
from tarsd.calls import CallSpec, ItemT, RequestT
from tarsd.errors import NotFound
from tarsd.names import ConversationId

MAX_TEXT_CHARACTERS = 8_000
MAX_QUERY_CHARACTERS = 2_000
MAX_LIMIT = 200
MAX_OFFSET = 1_000_000

MemoryText = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=32)]
ProjectId = Annotated[str, Meta(pattern=r"^([A-Za-z0-9._-]{1,128})?$")]
Language = Annotated[str, Meta(pattern=r"^([a-z]{2,3})?$")]
Moment = Annotated[float, Meta(ge=0, le=1e12)]
Sort = Literal["fact", "instruction", "preference"]
Scope = Literal["person", "project", "household"]
T = TypeVar("T")


class NewMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/memories. Times are seconds since 1970; 0 = not known, no end.

    Without a `scope` it is the project's where one is named, else the token's person's own, as in the chat, else the
    household's.
    """

    text: MemoryText
    sort: Sort = "fact"
    scope: Scope | UnsetType = UNSET
    project: ProjectId = ""
    language: Language = ""
    tags: Tags = []
    valid_from: Moment = 0.0
    valid_until: Moment = 0.0


class MemoryChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of PATCH /api/memories/KEY: what is not named stays."""

    text: MemoryText | UnsetType = UNSET
    sort: Sort | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    project: ProjectId | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    valid_from: Moment | UnsetType = UNSET
    valid_until: Moment | UnsetType = UNSET


def near(request: web.Request, spec: CallSpec[RequestT, ItemT], asked: RequestT) -> Items[ItemT]:
    """Return the running call: at this node where it offers that, else anywhere."""
    services = request.app[SERVICES]
    here = [member.node for member in services.members() if member.is_self and spec.name in member.capabilities]
    return services.dispatch.call(spec, asked, only=here[0] if here else None)


async def one(request: web.Request, spec: CallSpec[RequestT, ItemT], asked: RequestT) -> ItemT:
    """Return the only item of a call."""
    return await only_item(near(request, spec, asked), spec.name)


async def each(request: web.Request, spec: CallSpec[RequestT, ItemT], asked: RequestT) -> list[ItemT]:
    """Return all items of a call."""
    async with aclosing(near(request, spec, asked)) as items:
        return [item async for item in items]


def choice(request: web.Request, name: str, allowed: Any) -> Any:
    """Return the query parameter `name`, "" or one of a Literal's words; raises `FieldError`."""
    found = request.query.get(name, "")
    words = get_args(allowed)
    if found and found not in words:
        raise FieldError(name, f"expected one of {', '.join(words)}, got {found[:40]!r}")
    return found


def fitting(name: str, text: str, as_type: type[T]) -> T:
    """Return a text of the query or path as its bounded type; raises `FieldError`."""
    try:
        return msgspec.convert(text, as_type)
    except msgspec.ValidationError as error:
        raise FieldError(name, str(error)) from error


def key_in(request: web.Request) -> str:
    """Return the key in the path; an id without its kind is that of a memory. Raises `FieldError`."""
    found = request.match_info["key"]
    if len(found) > 500 or not found.isprintable():
        raise FieldError("key", "expected a key such as memory/5f2c…")
    return found if "/" in found else f"memory/{found}"


async def list_memories(request: web.Request) -> web.Response:
    """GET /api/memories[?q=WORDS][&kind=memory|summary][&sort=][&scope=][&project=][&history=1][&limit=50][&offset=0].

    Newest first; with q the best first.
    """
    query = request.query.get("q", "").strip()
    if len(query) > MAX_QUERY_CHARACTERS:
        raise FieldError("q", f"expected at most {MAX_QUERY_CHARACTERS} characters to search for")
    kind = choice(request, "kind", calls.memories.Kind)
    asked = calls.MemoriesRequest(
        who_looks(request),
        query=query,
        kinds=(kind,) if kind else ("memory", "summary"),
        sort=choice(request, "sort", Sort),
        scope=choice(request, "scope", Scope),
        project=fitting("project", request.query.get("project", ""), ProjectId),
        history=query_int(request, "history", 0, 0, 1) == 1,
        limit=query_int(request, "limit", 50, 1, MAX_LIMIT),
        offset=query_int(request, "offset", 0, 0, MAX_OFFSET),
    )
    return json_reply(await one(request, calls.MEMORIES, asked))


async def show_memory(request: web.Request) -> web.Response:
    """GET /api/memories/KEY: a memory or summary with what it was learned from."""
    return json_reply(await _memory(request, key_in(request)))


async def _memory(request: web.Request, key: str) -> calls.Memory:
    asked = calls.MemoriesRequest(who_looks(request), key=key, history=True, limit=1)
    found = (await one(request, calls.MEMORIES, asked)).memories
    if not found:
        raise NotFound(f"key: nothing is remembered as {key}")
    return found[0]


async def add_memory(request: web.Request) -> web.Response:
    """POST /api/memories: remember something; the reply says what it contradicts and on how many PCs it is."""
    body = await read_json(request, NewMemory)
    who = who_looks(request)
    usual: Scope = "project" if body.project else "person" if who.person else "household"
    body = msgspec.structs.replace(body, scope=usual if body.scope is UNSET else body.scope)
    check_memory(body.text, str(body.scope), body.project, body.valid_from, body.valid_until)
    asked = calls.SaveRequest(who, **{name: getattr(body, name) for name in body.__struct_fields__})
    return json_reply(await one(request, calls.SAVE, asked), status=201)


async def change_memory(request: web.Request) -> web.Response:
    """PATCH /api/memories/KEY: another text, or other fields; what is not named stays."""
    key, change = key_in(request), await read_json(request, MemoryChange)
    before = await _memory(request, key)
    if before.kind != "memory":
        raise FieldError("key", "a summary is not edited, it can be forgotten")
    fields: dict[str, Any] = {
        name: getattr(before, name) if (new := getattr(change, name)) is UNSET else new
        for name in change.__struct_fields__
    }
    if change.text is not UNSET and change.language is UNSET:
        fields["language"] = ""  # another text may be in another language
    if change.scope in ("person", "household") and change.project is UNSET:
        fields["project"] = before.project if before.scope != "project" else ""
    check_memory(fields["text"], fields["scope"], fields["project"], fields["valid_from"], fields["valid_until"])
    return json_reply(await one(request, calls.SAVE, calls.SaveRequest(who_looks(request), key=key, **fields)))


def check_memory(text: str, scope: str, project: str, valid_from: float, valid_until: float) -> None:
    """Raise `FieldError` where the fields do not fit each other."""
    if not text.strip():
        raise FieldError("text", "expected something to remember")
    if scope == "project" and not project:
        raise FieldError("project", "what is of a project names it")
    if valid_until and valid_until < valid_from:
        raise FieldError("valid_until", "it ends before it begins")


async def forget(request: web.Request) -> web.Response:
    """DELETE /api/memories/KEY[?preview=1]: forget it for good, on every PC; the reply is the receipt.

    KEY may be that of a memory, summary, project or document, or conversation/ID.
    """
    preview, key = query_int(request, "preview", 0, 0, 1) == 1, key_in(request)
    kind, _, rest = key.partition("/")
    if kind == "conversation":
        asked = calls.ForgetRequest(who_looks(request), conversation=ConversationId(rest), preview=preview)
    else:
        asked = calls.ForgetRequest(who_looks(request), key, preview=preview)
    return json_reply(await forgotten(request, asked, key))


async def forgotten(request: web.Request, asked: calls.ForgetRequest, key: str) -> calls.ForgetItem:
    """Return the receipt as it stands when the call ends: a later item replaces the one before."""
    items = await each(request, calls.FORGET, asked)
    if not items:
        raise NotFound(f"key: nothing is remembered as {key}")
    return items[-1]


async def receipts(request: web.Request) -> web.Response:
    """GET /api/receipts[?limit=20]: what was forgotten, newest first; keys, never text.

    Of what others forgot is shown what the token's person could see itself.
    """
    limit = query_int(request, "limit", 20, 1, MAX_LIMIT)
    return json_reply(
        {"receipts": await each(request, calls.RECEIPTS, calls.ReceiptRequest("", limit, who_looks(request)))}
    )


async def receipt(request: web.Request) -> web.Response:
    """GET /api/receipts/ID: one receipt as it stands now."""
    wanted = request.match_info["id"][:200]
    found = await each(request, calls.RECEIPTS, calls.ReceiptRequest(wanted, 1, who_looks(request)))
    if not found:
        raise NotFound(f"id: there is no receipt {wanted!r}")
    return json_reply(found[0])


async def conversations(request: web.Request) -> web.Response:
    """GET /api/conversations: those that are remembered now, on every PC, the last one first."""
    return json_reply(await one(request, calls.CONVERSATIONS, calls.ConversationsRequest(who_looks(request))))


def routes() -> list[web.RouteDef]:
    """The routes about what is remembered."""
    return [
        web.get("/api/memories", list_memories),
        web.post("/api/memories", add_memory),
        web.get("/api/memories/{key:.+}", show_memory),
        web.patch("/api/memories/{key:.+}", change_memory),
        web.delete("/api/memories/{key:.+}", forget),
        web.get("/api/conversations", conversations),
        web.get("/api/receipts", receipts),
        web.get("/api/receipts/{id}", receipt),
    ]
