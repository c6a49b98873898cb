"""Who may see and change what is remembered. Pure.

Rules
1. What is of the household is everybody's.
2. What is of a person is that person's alone. "" is whoever sits at a PC of the household without a token of a name.
3. What is of a project is its members' (all where none are named) and the person's who began it.
4. An administrator sees all.
"""

from __future__ import annotations

from collections.abc import Mapping

from tarsd.calls import Who
from tarsd.memory.bodies import Body, DocumentBody, MemoryBody, PassageBody, ProjectBody, SummaryBody


def may_see(who: Who, body: MemoryBody | SummaryBody, projects: Mapping[str, ProjectBody]) -> bool:
    """Tell whether this person may see a memory or summary; `projects` by their id."""
    if who.sees_all or body.scope == "household":
        return True
    if body.scope == "person":
        return who.person == body.person
    project = projects.get(body.project)
    return who.person == body.person or (project is not None and is_member(who, project))


def is_member(who: Who, project: ProjectBody) -> bool:
    """Tell whether a project is this person's too."""
    return who.sees_all or not project.members or who.person in project.members or who.person == project.person


def persons_who_see(body: Body | None, projects: Mapping[str, ProjectBody]) -> frozenset[str] | None:
    """Return who may see something, administrators aside; None = everybody. Of nothing that is known, nobody."""
    match body:
        case DocumentBody() | PassageBody():
            return None
        case ProjectBody():
            return frozenset((*body.members, body.person)) if body.members else None
        case MemoryBody() | SummaryBody() if body.scope == "household":
            return None
        case MemoryBody() | SummaryBody() if body.scope == "person":
            return frozenset((body.person,))
        case MemoryBody() | SummaryBody():
            members = persons_who_see(projects.get(body.project), projects)
            return None if members is None else members | {body.person}
    return frozenset()
