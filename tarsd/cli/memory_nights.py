"""`tarsd memory conversations|diary|undo|automatic`: what TARS does by itself, undoing it, and whether it may."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tarsd.cli.exits import FAILED, OK
from tarsd.cli.memory_common import agreed, client_of, moment_of, print_json, words_of
from tarsd.cli.memory_texts import MemoryWords
from tarsd.cli.terminal import printable, table
from tarsd.errors import NotFound

_LOOKED_AT = 200


def diary(args: argparse.Namespace) -> int:
    """Show what the nightly jobs changed, newest first."""
    found = asyncio.run(_ask(args, "GET", "/api/diary", {"job": args.job, "limit": args.limit}))
    if args.json:
        print_json(found)
        return OK
    words = words_of(args)
    rows = [_row(entry, words) for entry in found["entries"]]
    print(table(words.diary_header, rows) if rows else words.diary_empty)
    return OK


def undo(args: argparse.Namespace) -> int:
    """Undo what an entry tells, after asking."""
    words = words_of(args)
    if not args.yes:
        entries = asyncio.run(_ask(args, "GET", "/api/diary", {"limit": _LOOKED_AT}))["entries"]
        what = next((entry["what"] for entry in entries if entry["id"] == args.id), None)
        if what is None:
            raise NotFound(f"ID: there is no entry {args.id!r} among the last {_LOOKED_AT} of the diary")
        if not agreed(words.undo_sure.format(what=printable(what)), words):
            print(words.not_done)
            return FAILED
    found = asyncio.run(_ask(args, "POST", f"/api/diary/{quote(args.id, safe='')}/undo"))
    if args.json:
        print_json(found)
        return OK
    print(words.undo_done.format(count=len(found["restored"])))
    if found["kept"]:
        print(words.undo_kept.format(keys=printable(", ".join(found["kept"]))))
    return OK


def automatic(args: argparse.Namespace) -> int:
    """Show or say whether TARS learns about the token's person by itself."""
    if args.value is None:
        found = asyncio.run(_ask(args, "GET", "/api/memory/settings"))
    else:
        found = asyncio.run(_ask(args, "PATCH", "/api/memory/settings", body={"automatic": args.value == "on"}))
    if args.json:
        print_json(found)
        return OK
    words = words_of(args)
    print(words.automatic_on if found["automatic"] else words.automatic_off)
    if found["automatic"] and not found["allowed"]:
        print(words.automatic_not_allowed)
    return OK


def conversations(args: argparse.Namespace) -> int:
    """List the conversations that are remembered now."""
    found = asyncio.run(_ask(args, "GET", "/api/conversations"))
    if args.json:
        print_json(found)
        return OK
    words = words_of(args)
    rows = [
        [one["id"], moment_of(one["touched_at"]), str(one["exchanges"]), f"{one['title']}: {one['summary']}"]
        for one in found["conversations"]
    ]
    print(table(words.conversations_header, rows) if rows else words.no_conversations)
    return OK


async def _ask(
    args: argparse.Namespace,
    method: str,
    path: str,
    params: Mapping[str, str | int] | None = None,
    body: object = None,
) -> Any:
    async with client_of(args) as client:
        return await client.json(method, path, params=params, body=body)


def _row(entry: Mapping[str, Any], words: MemoryWords) -> list[str]:
    what = f"({words.undone}) {entry['what']}" if entry["undone_at"] else entry["what"]
    return [entry["id"], moment_of(entry["ended_at"]), entry["job"], entry["node"], what]
