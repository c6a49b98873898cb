"""The files that memory is exported to: lines of JSON, which can be imported again, and Markdown for reading. Pure.

A JSON file is one object a line: a head `{"tarsd": "memory", "version": 1, …}`, then projects, summaries and memories
with all their fields as records keep them (without salt), then a foot `{"tarsd": "end", "entries": n}`: a file without
it was cut off. Fields of a newer version are not known here and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from tarsd.api.replies import FieldError, decode_json
from tarsd.errors import InvalidInput
from tarsd.memory.bodies import MEMORY, PROJECT, SUMMARY, MemoryBody, ProjectBody, Source, SummaryBody
from tarsd.memory.importing import Portable
from tarsd.wire import decode, encode

VERSION = 1
MAX_LINE_BYTES = 4 * 1024 * 1024  # a record's body is bounded by 1 MiB; escapes can make more of it
SHAPES: dict[str, type[Portable]] = {PROJECT: ProjectBody, SUMMARY: SummaryBody, MEMORY: MemoryBody}
_UNESCAPED = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|"})


class Head(msgspec.Struct, frozen=True):
    """The first line of a file."""

    tarsd: str
    version: int = VERSION
    node: str = ""
    at: float = 0.0


class Foot(msgspec.Struct, frozen=True):
    """The last line of a file; `entries` counts those between head and foot."""

    tarsd: str
    entries: int


class _Marked(msgspec.Struct, frozen=True):
    tarsd: str | None = None
    kind: str | None = None


def head_line(node: str, at: float) -> bytes:
    """Return the first line; `at` is seconds since 1970."""
    return msgspec.json.encode(Head("memory", VERSION, node, at)) + b"\n"


def foot_line(entries: int) -> bytes:
    """Return the last line."""
    return msgspec.json.encode(Foot("end", entries)) + b"\n"


def line_of(kind: str, packed: bytes) -> bytes:
    """Return the line of one entry, given as it crossed."""
    plain: dict[str, Any] = msgspec.to_builtins(decode(packed, SHAPES[kind]))
    plain.pop("salt")
    return msgspec.json.encode({"kind": kind} | plain) + b"\n"


def entry_of(line: bytes) -> tuple[str, bytes] | Head | Foot:
    """Return what a line has: kind and body as they cross, or a head or foot; raises `FieldError`."""
    marked = decode_json(line, _Marked)
    if marked.tarsd is not None:
        if marked.tarsd == "end":
            return decode_json(line, Foot)
        head = decode_json(line, Head)
        _check_head(head)
        return head
    shape = SHAPES.get(marked.kind or "")
    if shape is None:
        raise FieldError("kind", f"expected one of {', '.join(SHAPES)}, got {(marked.kind or 'nothing')[:40]!r}")
    body = decode_json(line, shape)
    return str(marked.kind), encode(msgspec.structs.replace(body, salt=b""))


def project_id(packed: bytes) -> str:
    """Return the id of a project, given as it crosses."""
    return decode(packed, ProjectBody).id


def _check_head(head: Head) -> None:
    if head.tarsd != "memory":
        raise FieldError("tarsd", f"this is no file of memory but of {head.tarsd[:40]!r}")
    if head.version > VERSION:
        raise FieldError("version", f"the file is of version {head.version}, this node reads up to {VERSION}")


# --- for reading --------------------------------------------------------------------------------------------------

_TITLES = {PROJECT: "Projects", SUMMARY: "Summaries", MEMORY: "Memories"}


def markdown_head(node: str, at: float) -> str:
    """Return the title of the Markdown file."""
    return f"# Memory of {plain(node)}\n\n{_time(at)}\n"


def markdown_title(kind: str) -> str:
    """Return the title of all entries of a kind."""
    return f"\n## {_TITLES[kind]}\n"


def markdown_of(kind: str, packed: bytes) -> str:
    """Return one entry for reading; its text is a quotation, so that nothing in it is taken for structure."""
    body: Portable = decode(packed, SHAPES[kind])
    match body:
        case ProjectBody():
            ended = f"ended {_date(body.ended_at)}" if body.ended_at else ""
            about = [f"began {_date(body.began_at)}" if body.began_at else "", ended, _listed("members", body.members)]
            return _entry(body.name, body.text, [*about, _listed("tags", body.tags), f"id {body.id}"])
        case SummaryBody():
            when = f"{_date(body.ended_at)}" if body.ended_at else ""
            return _entry(body.title, body.text, [when, *_owner(body), _listed("tags", body.tags), *_sources(body)])
        case MemoryBody():
            valid = [f"from {_date(body.valid_from)}" if body.valid_from else ""]
            valid += [f"until {_date(body.valid_until)}" if body.valid_until else ""]
            about = [body.sort, _date(body.made_at) if body.made_at else "", *valid, *_owner(body)]
            return _entry("", body.text, [*about, _listed("tags", body.tags), *_sources(body)])
    raise InvalidInput(f"kind: {kind!r} is not exported")


def _entry(title: str, text: str, about: Sequence[str]) -> str:
    head = f"\n### {plain(title)}\n" if title else ""
    quoted = "\n".join(f"> {plain(line)}" for line in text.splitlines() or [""])
    facts = " · ".join(plain(fact) for fact in about if fact)
    return f"{head}\n{quoted}\n" + (f"\n{facts}\n" if facts else "")


def plain(text: str) -> str:
    """Return text in which Markdown and HTML find nothing to read."""
    return " ".join(text.split()).translate(_UNESCAPED)


def _owner(body: MemoryBody | SummaryBody) -> list[str]:
    of = {"person": body.person or "whoever sits at a PC", "project": body.project}.get(body.scope, "")
    former = f"replaced by {body.replaced_by}" if body.replaced_by else ""
    return [f"of {of}" if of else "", f"project {body.project}" if body.project and not of else "", former]


def _sources(body: MemoryBody | SummaryBody) -> list[str]:
    return [_listed("learned from", [word for source in body.sources for word in _words(source)])]


def _words(source: Source) -> list[str]:
    said = f"a conversation, {_date(source.at)}" if source.at else "a conversation"
    found = [said] if source.conversation else []
    return [*found, *([f"document {source.document[:12]}"] if source.document else []), *source.keys]


def _listed(name: str, words: Sequence[str]) -> str:
    return f"{name} {', '.join(words)}" if words else ""


def _date(at: float) -> str:
    return _moment(at).date().isoformat() if at else ""


def _time(at: float) -> str:
    return _moment(at).isoformat(timespec="minutes")


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(min(at, 253_402_300_799.0), UTC)  # the last second of the year 9999
