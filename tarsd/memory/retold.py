"""What summaries that this node wrote tell of memories that were forgotten elsewhere, before it heard of that. Pure.

A conversation on the other side of a split may tell a thing again without leaning on the memory of it: no link names
it. Where the tombstone comes in, the text that it erases is at hand for the last time, so it is looked for then, as at
the time of forgetting. Nothing is kept for later: fingerprints of so short texts could be guessed back. What stays is
told of a memory that this node never had, or that was erased here by a kill between two steps.

Rules
1. Only what this node wrote itself: it did not know. What others wrote, who knew, may have been said again on purpose.
2. Who forgot it saw both: of a person's memory that person's view counts; of what is a project's or the household's,
   summaries of that project and of the household.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from tarsd.calls import Who
from tarsd.memory.access import may_see
from tarsd.memory.bodies import MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.closure import Closure, Remembered, Target, closure

_Place = tuple[str, str, str]
_NOTHING = "-"  # a key at which nothing ever lies: what is meant here are words alone


def retold(
    forgotten: Iterable[MemoryBody],
    own: Sequence[SummaryBody],
    older: Sequence[SummaryBody],
    projects: Mapping[str, ProjectBody],
) -> Closure:
    """Return what of `own` is to go or to go on without what is `forgotten`; `older`: versions that were written over.

    Keys of `rewritten` are of bodies that were visible; `forgotten` names visible ones alone.
    """
    texts: dict[_Place, list[str]] = defaultdict(list)
    for body in forgotten:
        texts[body.scope, body.person if body.scope == "person" else "", body.project].append(body.text)
    left = {body.id: body for body in own}
    gone: set[str] = set()
    rewritten: dict[str, SummaryBody] = {}
    for place, told in texts.items():
        found = closure(Target(_NOTHING, passages=told), left.values(), _sees(place, projects), older)
        gone |= {key for key in found.forgotten if key != _NOTHING}
        rewritten |= found.rewritten
        left |= {body.id: body for body in found.rewritten.values()}
    return Closure(sorted(gone), {key: body for key, body in rewritten.items() if key not in gone})


def _sees(place: _Place, projects: Mapping[str, ProjectBody]) -> Callable[[Remembered], bool]:
    """Return whether whoever forgot a memory of a place could see a summary (rule 2)."""
    scope, person, project = place
    if scope == "person":
        return lambda body: may_see(Who(person), body, projects)
    return lambda body: body.scope == "household" or (scope == "project" == body.scope and body.project == project)
