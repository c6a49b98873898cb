"""How a record of memory is shown to people. Pure.

`bodies` is what is written; `calls.Memory` is what travels to front ends: with its key, its evidence, and what it took
the place of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsd.calls import Evidence, Memory, Project
from tarsd.memory.bodies import MemoryBody, ProjectBody, Source, SummaryBody, memory_key, project_key, summary_key

Files = Mapping[str, str]  # of documents, by their SHA-256
NO_FILES: Files = {}


def view(
    body: MemoryBody | SummaryBody, *, files: Files = NO_FILES, contradicts: Sequence[str] = (), score: float = 0.0
) -> Memory:
    """Return a memory or summary as people see it."""
    if isinstance(body, SummaryBody):
        return _of_summary(body, files, score)
    return Memory(
        memory_key(body.id),
        "memory",
        body.text,
        sort=body.sort,
        scope=body.scope,
        person=body.person,
        project=body.project,
        language=body.language,
        tags=body.tags,
        keywords=body.keywords,
        dates=body.dates,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        made_at=body.made_at,
        made_by=body.made_by,
        is_current=not body.replaced_by,
        replaced_by=body.replaced_by,
        replaced_why=body.replaced_why,
        contradicts=list(contradicts),
        evidence=_evidence(body.sources, files),
        score=score,
    )


def _of_summary(body: SummaryBody, files: Files, score: float) -> Memory:
    sources = body.sources or ([Source(body.conversation, at=body.ended_at)] if body.conversation else [])
    return Memory(
        summary_key(body.id),
        "summary",
        body.text,
        title=body.title,
        scope=body.scope,
        person=body.person,
        project=body.project,
        language=body.language,
        tags=body.tags,
        keywords=body.keywords,
        dates=body.dates,
        valid_from=body.began_at,
        made_at=body.ended_at,
        made_by=body.made_by,
        is_current=not body.replaced_by,
        replaced_by=body.replaced_by,
        replaced_why="merged" if body.replaced_by else "",
        evidence=_evidence(sources, files),
        score=score,
    )


def _evidence(sources: Sequence[Source], files: Files) -> list[Evidence]:
    return [
        Evidence(each.at, each.conversation, each.document, files.get(each.document, ""), each.keys) for each in sources
    ]


def project_view(body: ProjectBody, memories: int = 0, summaries: int = 0) -> Project:
    """Return a project as people see it."""
    return Project(
        project_key(body.id),
        body.id,
        body.name,
        body.text,
        body.members,
        body.tags,
        body.began_at,
        body.ended_at,
        memories,
        summaries,
    )
