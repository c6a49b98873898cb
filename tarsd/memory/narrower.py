"""What of an answer may go into a summary that others are shown: nothing that it was only given to recall. Pure.

A conversation's summary may be written down for the members of a project, or for the household (`synthesis`). Its
answers lean on memories that not all of these may see; by the summary they would.

Rules
1. What a person says itself is its own to tell: questions are left as they are.
2. An answer that was given a fact or summary of a narrower scope is left out whole: in other words, or in another
   language, any of its sentences may tell it. So is one that was given something that is not known here.
3. The profile is given to every answer, and what an earlier answer was given may stand in the open chat's turns. Of
   these a sentence is left out that has a word of theirs which means something, and which the question has not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tarsd.memory.bodies import MemoryBody, Scope, SummaryBody
from tarsd.memory.extractive import sentences
from tarsd.memory.telling import stems_of

Remembered = MemoryBody | SummaryBody


def is_narrower(body: Remembered, scope: Scope, project: str) -> bool:
    """Tell whether not all who may see a summary of this scope may see a memory that its person was given."""
    if scope == "person" or body.scope == "household":
        return False
    return body.scope == "person" or scope == "household" or body.project != project


def tellable(
    question: str,
    answer: str,
    known: Mapping[str, Remembered],
    given: Collection[str],
    before: Iterable[str],
    *,
    scope: Scope,
    project: str,
) -> str:
    """Return what of an answer may go into a summary of this scope; `known` are the memories by their keys.

    `given`: the keys that this answer was given; `before`: those that earlier ones were.
    """
    if scope == "person":
        return answer
    narrow = {key: body for key, body in known.items() if is_narrower(body, scope, project)}
    if any(key not in known or (key in narrow and not _is_profile(narrow[key])) for key in given):
        return ""
    words = frozenset().union(*(_stems(narrow[key]) for key in {*given, *before} & narrow.keys())) - stems_of(question)
    if not words:
        return answer
    return " ".join(sentence for sentence in sentences(answer) if words.isdisjoint(stems_of(sentence)))


def _is_profile(body: Remembered) -> bool:
    return isinstance(body, MemoryBody) and body.sort != "fact"


def _stems(body: Remembered) -> frozenset[str]:
    title = body.title if isinstance(body, SummaryBody) else ""
    return stems_of(" ".join((title, body.text, *body.tags)))
