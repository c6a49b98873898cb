"""What may be taken in of an import, and what is there already. Pure.

Rules
1. What is here already with the same content is known: an import that was cut off is simply done again.
2. What is here under the same key with another content stays as it is here: an import never undoes a later change.
3. What was forgotten here is not brought back by a file that still has it.
4. A person writes for nobody else: what is of a person is taken from that person, or from an administrator. What is of
   a project is taken from who belongs to it.
5. What belongs to a project needs that project, here or earlier in the import.
6. A salt is no content: it is not exported, and made anew (`salted`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from tarsd.calls import Who
from tarsd.memory.access import is_member
from tarsd.memory.bodies import MemoryBody, ProjectBody, SummaryBody

Portable = MemoryBody | SummaryBody | ProjectBody


class Objection(NamedTuple):
    """Why an entry is not taken in, and which of its fields is to blame."""

    field: str
    reason: str


def without_salt(body: Portable) -> Portable:
    """Return the body as it is exported and compared (rule 6)."""
    return replace(body, salt=b"")


def salted(body: Portable, salt: bytes) -> Portable:
    """Return the body as it is written."""
    return replace(body, salt=salt)


def is_known(body: Portable, here: Portable | None) -> bool:
    """Tell whether the same is here already (rule 1)."""
    return here is not None and without_salt(here) == without_salt(body)


def objection(
    who: Who,
    body: Portable,
    here: Portable | None,
    projects: Mapping[str, ProjectBody],
    *,
    coming: Collection[str] = (),
    is_forgotten: bool = False,
) -> Objection | None:
    """Return why `body` is not taken in (rules 2 to 5), None where it is; `here`: what its key shows now.

    `projects`: those that are here, by id. `coming`: ids of those that the import has.
    """
    if is_forgotten:
        return Objection("id", "it was forgotten here, and an import brings nothing back")
    if here is not None:
        return Objection("id", "it is here already and says something else; what is here stays")
    if isinstance(body, ProjectBody):
        return None if is_member(who, body) else Objection("members", "you are not among them")
    if body.scope == "person" and not who.sees_all and body.person != who.person:
        return Objection("person", "it is another person's; an administrator can import it")
    return _of_project(who, body, projects, coming)


def _of_project(
    who: Who, body: MemoryBody | SummaryBody, projects: Mapping[str, ProjectBody], coming: Collection[str]
) -> Objection | None:
    project = projects.get(body.project)
    if not body.project or (project is None and body.project in coming):
        return None
    if project is None:
        # a memory outlives its project: only where the project alone says who may see it, it is needed
        return Objection("project", "there is no such project here") if body.scope == "project" else None
    return None if is_member(who, project) else Objection("project", "you do not belong to it")
