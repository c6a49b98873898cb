"""Projects over HTTP: what conversations and memories belong to.

    GET   /api/projects         those that the token's person may see
    POST  /api/projects         {"name", "text", "members", "tags"}
    PATCH /api/projects/ID      the fields that change; {"is_ended": true} finishes it

A project is forgotten as a memory is: DELETE /api/memories/project/ID.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from tarsd import calls
from tarsd.api.memories import MAX_TEXT_CHARACTERS, Tags, one
from tarsd.api.persons import person_name
from tarsd.api.replies import FieldError, json_reply, read_json
from tarsd.api.who import who_looks
from tarsd.errors import InvalidInput, NotFound

ProjectName = Annotated[str, Meta(min_length=1, max_length=200)]
ProjectText = Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)]
Members = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=64)]


class NewProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/projects; no members = the whole household."""

    name: ProjectName
    text: ProjectText = ""
    members: Members = []
    tags: Tags = []


class ProjectChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of PATCH /api/projects/ID: what is not named stays."""

    name: ProjectName | UnsetType = UNSET
    text: ProjectText | UnsetType = UNSET
    members: Members | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    is_ended: bool | UnsetType = UNSET


async def projects(request: web.Request) -> web.Response:
    """GET /api/projects: those that may be seen, newest first."""
    return json_reply(await _known(request))


async def _known(request: web.Request) -> calls.ProjectsItem:
    return await one(request, calls.PROJECTS, calls.ProjectsRequest(who_looks(request)))


async def begin(request: web.Request) -> web.Response:
    """POST /api/projects {"name": "New kitchen"}: begin a project."""
    body = await read_json(request, NewProject)
    asked = calls.SaveProjectRequest(
        who_looks(request), named(body.name), text=body.text, members=members_of(body.members), tags=body.tags
    )
    return json_reply(await one(request, calls.SAVE_PROJECT, asked), status=201)


async def change(request: web.Request) -> web.Response:
    """PATCH /api/projects/ID: another name, text, members or tags, or that it is finished."""
    wanted, body = request.match_info["id"], await read_json(request, ProjectChange)
    before = next((project for project in (await _known(request)).projects if project.id == wanted), None)
    if before is None:
        raise NotFound(f"id: there is no project {wanted[:128]!r}")
    asked = calls.SaveProjectRequest(
        who_looks(request),
        before.name if body.name is UNSET else named(body.name),
        id=before.id,
        text=before.text if body.text is UNSET else body.text,
        members=before.members if body.members is UNSET else members_of(body.members),
        tags=before.tags if body.tags is UNSET else body.tags,
        is_ended=bool(before.ended_at) if body.is_ended is UNSET else body.is_ended,
    )
    return json_reply(await one(request, calls.SAVE_PROJECT, asked))


def named(name: str) -> str:
    """Return a project's name as it is kept; raises `FieldError`."""
    clean = " ".join(name.split())
    if not clean or not clean.isprintable():
        raise FieldError("name", "expected a name that can be read")
    return clean


def members_of(names: list[str]) -> list[str]:
    """Return the persons in the form in which tokens name them; raises `FieldError`."""
    found: list[str] = []
    for number, name in enumerate(names):
        field = f"members[{number}]"
        try:
            found.append(person_name(name, field))
        except InvalidInput as error:
            raise FieldError(field, str(error).removeprefix(f"{field}: ")) from error
    return list(dict.fromkeys(found))


def routes() -> list[web.RouteDef]:
    """The routes about projects."""
    return [
        web.get("/api/projects", projects),
        web.post("/api/projects", begin),
        web.patch("/api/projects/{id}", change),
    ]
