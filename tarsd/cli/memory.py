"""`tarsd memory list|search|show|add|edit`: what is remembered, seen and changed by a person."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from tarsd.cli.exits import FAILED, OK
from tarsd.cli.memory_common import (
    client_of,
    day_of,
    moment_of,
    path_of,
    print_json,
    seconds_of,
    tell_copies,
    words_of,
)
from tarsd.cli.memory_texts import MemoryWords
from tarsd.cli.terminal import printable, styled, table
from tarsd.errors import InvalidInput

_SHOWN = ("key", "sort", "scope", "person", "project", "tags", "keywords", "dates", "valid_from", "valid_until")
_TIMES = ("valid_from", "valid_until", "made_at")
_LEFT_OUT: dict[str, Any] = {"query": [], "kind": "", "sort": "", "scope": "", "project": "", "history": False}


def usage(args: argparse.Namespace) -> int:
    """Without a word behind it, `tarsd memory` lists."""
    everything = {**_LEFT_OUT, "limit": 50, "offset": 0, "everybody": False} | vars(args)
    return show_list(argparse.Namespace(**everything))


def show_list(args: argparse.Namespace) -> int:
    """List or search; nothing found is exit code 1, as with grep."""
    found = asyncio.run(_get(args, "/api/memories", _filters(args)))
    if args.json:
        print_json(found)
        return OK if found["memories"] else FAILED
    words, memories = words_of(args), found["memories"]
    print(table(words.list_header, [_row(one, words) for one in memories]) if memories else words.nothing)
    next_one = args.offset + len(memories)
    if memories and next_one < found["total"]:
        more = words.more.format(shown=len(memories), total=found["total"], next=next_one)
        print(styled(more, "dim", sys.stderr), file=sys.stderr)
    if found["degraded"]:
        told = words.degraded.format(reason=printable(found["degraded"]))
        print(styled(told, "yellow", sys.stderr), file=sys.stderr)
    return OK if memories else FAILED


def show(args: argparse.Namespace) -> int:
    """Show one with what it was learned from."""
    found = asyncio.run(_get(args, path_of(args.key), {}))
    if args.json:
        print_json(found)
        return OK
    words = words_of(args)
    if found["title"]:
        print(styled(printable(found["title"]), "bold"))
    print(printable(found["text"]))
    print()
    for name in (*_SHOWN, "made_at", "made_by", "replaced_by", "contradicts"):
        if value := _shown(name, found[name], words):
            print(f"{styled(words.fields[name], 'dim')}: {printable(value)}")
    for line in map(printable, _evidence(found["evidence"], words)):
        print(f"{styled(words.evidence['title'], 'dim')}: {line}")
    return OK


def add(args: argparse.Namespace) -> int:
    """Remember something."""
    body = _fields(args) | {"text": " ".join(args.text)}
    return _told(args, asyncio.run(_send(args, "POST", "/api/memories", body)), is_new=True)


def edit(args: argparse.Namespace) -> int:
    """Change a memory; what is not named stays."""
    body = _fields(args) | ({} if args.text is None else {"text": args.text})
    if not body:
        raise InvalidInput("there is nothing to change: name --text, --as, --scope, --project, --tag, --from, --until")
    return _told(args, asyncio.run(_send(args, "PATCH", path_of(args.key), body)), is_new=False)


async def _get(args: argparse.Namespace, path: str, params: Mapping[str, str | int]) -> Any:
    async with client_of(args) as client:
        return await client.json("GET", path, params=params)


async def _send(args: argparse.Namespace, method: str, path: str, body: object) -> Any:
    async with client_of(args) as client:
        return await client.json(method, path, body=body)


def _filters(args: argparse.Namespace) -> dict[str, str | int]:
    query = " ".join(getattr(args, "query", []))
    params: dict[str, str | int] = {"limit": args.limit, "offset": args.offset, "history": int(args.history)}
    named = {"q": query, "kind": args.kind, "sort": args.sort, "scope": args.scope, "project": args.project}
    return params | {name: value for name, value in named.items() if value}


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was named on the command line."""
    body = {name: getattr(args, name) for name in ("sort", "scope", "project", "tags", "language")}
    for name, option in (("valid_from", "from"), ("valid_until", "until")):
        text = getattr(args, name)
        body[name] = None if text is None else seconds_of(option, text)
    if body["project"] and body["scope"] is None and args.command == "memory:add":
        body["scope"] = "project"
    return {name: value for name, value in body.items() if value is not None}


def _told(args: argparse.Namespace, saved: Mapping[str, Any], *, is_new: bool) -> int:
    if args.json:
        print_json(saved)
        return OK
    words, key = words_of(args), saved["memory"]["key"]
    sentence = (words.saved if saved["is_new"] else words.known) if is_new else words.changed
    print(sentence.format(key=printable(key)))
    for older in saved["contradicts"]:
        print(words.contradicts.format(key=printable(older["key"]), text=printable(older["text"])))
    tell_copies(saved["copies"], words)
    return OK


def _row(memory: Mapping[str, Any], words: MemoryWords) -> list[str]:
    is_memory = memory["kind"] == "memory"
    kind = words.sorts[memory["sort"]] if is_memory else words.kinds["summary"]
    whose = memory["person"] if memory["scope"] == "person" and memory["person"] else words.scopes[memory["scope"]]
    if memory["scope"] == "project":
        whose = memory["project"]
    text = f"{memory['title']}: {memory['text']}" if memory["title"] else memory["text"]
    former = f"({words.fields['replaced_by']} {memory['replaced_by']}) " if memory["replaced_by"] else ""
    return [memory["key"], kind, whose or "-", day_of(memory["made_at"]), former + text]


def _shown(name: str, value: Any, words: MemoryWords) -> str:
    if name in _TIMES:
        return moment_of(value) if value else ""
    if name == "sort":
        return words.sorts[value]
    if name == "scope":
        return words.scopes[value]
    return ", ".join(value) if isinstance(value, list) else str(value)


def _evidence(evidence: list[Mapping[str, Any]], words: MemoryWords) -> list[str]:
    lines = []
    for one in evidence:
        parts = [words.evidence["conversation"] + f" ({one['conversation']})"] if one["conversation"] else []
        parts += [f"{words.evidence['document']} {one['file'] or one['document'][:12]}"] if one["document"] else []
        parts += [f"{words.evidence['keys']} {', '.join(one['keys'])}"] if one["keys"] else []
        when = [moment_of(one["at"])] if one["at"] else []
        lines.append(", ".join([*parts, *when]))
    return lines
