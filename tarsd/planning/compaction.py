"""Decides what becomes of the summaries of ended conversations, and what undoing a night brings back. Pure.

Summaries
1. Summaries of one project, scope and person whose conversations ended `QUIET_S` ago become one summary of the project;
   the one that it had until now is taken in. One alone stays as it is.
2. The text is a model's, or extracted; names, dates and numbers that a model lost are added in their own sentences.
3. What people undid is left alone: it is not made again.

Undoing
4. A key is brought back to what it was only where it still is what the night made of it; else somebody changed or
   forgot it since, and it is kept.
5. What took others' place is withdrawn, never erased: it is history, with one of those it was made of in its place.
   Where it was changed since, the others stay replaced: what somebody made of it is in it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tarsd.memory import extractive
from tarsd.memory.bodies import Body, DiaryChange, MemoryBody, Source, SummaryBody
from tarsd.planning.duplicates import MERGED

QUIET_S = 24 * 3600.0
MAX_TOGETHER = 24  # summaries in one go: what a model reads well; the rest comes the next night
SUMMARY_WORDS = 220
ADDED_WORDS = 120
MAX_RELATED = 50
MAX_SOURCES = 100


class Synthesis(NamedTuple):
    """Summaries that become one, oldest first, by their keys."""

    keys: list[str]
    bodies: list[SummaryBody]


class Undone(NamedTuple):
    """What undoing writes, and the keys that stay as they are."""

    writes: list[tuple[str, Body]]
    kept: list[str]


def syntheses(
    summaries: Iterable[tuple[str, SummaryBody]], now: float, undone: Collection[str] = frozenset()
) -> list[Synthesis]:
    """Return what is to be made one (rules 1 and 3); `undone`: keys whose synthesis was undone."""
    by_owner: dict[tuple[str, str, str], list[tuple[str, SummaryBody]]] = defaultdict(list)
    for key, body in summaries:
        is_over = 0 < body.ended_at <= now - QUIET_S
        if body.project and not body.replaced_by and is_over and key not in undone:
            by_owner[(body.project, body.scope, body.person)].append((key, body))
    found: list[Synthesis] = []
    for _, of_one in sorted(by_owner.items()):
        ordered = sorted(of_one, key=lambda each: (not _is_synthesis(each[0]), each[1].ended_at, each[0]))[
            :MAX_TOGETHER
        ]
        if len(ordered) > 1:
            found.append(Synthesis([key for key, _ in ordered], [body for _, body in ordered]))
    return found


def text_of(synthesis: Synthesis) -> str:
    """Return what a model is given to summarise."""
    return "\n\n".join(f"{body.title}. {body.text}" if body.title else body.text for body in synthesis.bodies)


def whole(synthesis: Synthesis, written: str) -> str:
    """Return the text of the new summary: what was written, with the facts that it lost (rule 2)."""
    text = text_of(synthesis)
    if not written.strip():
        return extractive.summarize(text, SUMMARY_WORDS)
    have = extractive.marks_of(written)
    lost = [sentence for sentence in extractive.sentences(text) if extractive.marks_of(sentence) - have]
    added = extractive.summarize("\n".join(dict.fromkeys(lost)), ADDED_WORDS)
    return f"{written.strip()}\n{added}".strip()


def made_of(synthesis: Synthesis, text: str, title: str) -> tuple[str, SummaryBody, list[tuple[str, SummaryBody]]]:
    """Return the key and the new summary, and the single ones as they are written again."""
    bodies, last = synthesis.bodies, synthesis.bodies[-1]
    identity = MERGED + _digest(*sorted(synthesis.keys))
    made = SummaryBody(
        id=identity,
        title=title or last.title,
        text=text,
        dates=_union(body.dates for body in bodies),
        tags=_union(body.tags for body in bodies),
        keywords=_union(body.keywords for body in bodies),
        language=last.language,
        salt=bytes.fromhex(_digest(*(f"{body.salt.hex()} {body.text}" for body in bodies))),
        scope=last.scope,
        person=last.person,
        project=last.project,
        began_at=min(body.began_at for body in bodies),
        ended_at=max(body.ended_at for body in bodies),
        exchanges=sum(body.exchanges for body in bodies),
        documents=_union(body.documents for body in bodies),
        made_by="nightly",
        sources=_sources(synthesis),
    )
    key = f"summary/{identity}"
    return key, made, [(old, replace(body, replaced_by=key)) for old, body in zip(synthesis.keys, bodies, strict=True)]


def undo(changes: Sequence[DiaryChange], bodies: Mapping[str, Body | None], now: Mapping[str, Body]) -> Undone:
    """Return how to undo changes (rules 4 and 5); `bodies` by the records' names, `now` by keys."""
    states = {change.key: change for change in changes}

    def is_untouched(key: str) -> bool:
        change = states.get(key)
        made = bodies.get(change.after) if change is not None else None
        return made is not None and now.get(key) == made

    writes: list[tuple[str, Body]] = []
    kept: list[str] = []
    back: dict[str, str] = {}
    for change in changes:
        before = bodies.get(change.before)
        head = getattr(bodies.get(change.after), "replaced_by", "")
        if not change.before:
            continue
        if before is None or not is_untouched(change.key) or (head in states and not is_untouched(head)):
            kept.append(change.key)
            continue
        writes.append((change.key, before))
        back.setdefault(head, change.key)
    for change in changes:
        made = bodies.get(change.after)
        if change.before:
            continue
        if change.key in back and isinstance(made, MemoryBody | SummaryBody):
            writes.append((change.key, _withdrawn(made, back[change.key])))
        else:
            kept.append(change.key)
    return Undone(writes, kept)


def _withdrawn(made: MemoryBody | SummaryBody, by: str) -> MemoryBody | SummaryBody:
    if isinstance(made, MemoryBody):
        return replace(made, replaced_by=by, replaced_why="merged")
    return replace(made, replaced_by=by)


def _is_synthesis(key: str) -> bool:
    return key.startswith(f"summary/{MERGED}")


def _sources(synthesis: Synthesis) -> list[Source]:
    conversations = [
        Source(conversation=body.conversation, at=body.ended_at) for body in synthesis.bodies if body.conversation
    ]
    older = [source for body in synthesis.bodies for source in body.sources]
    return [Source(keys=sorted(synthesis.keys)), *conversations, *older][:MAX_SOURCES]


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def _union(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(each for of_one in lists for each in of_one))[:MAX_RELATED]
