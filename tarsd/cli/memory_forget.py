"""`tarsd memory forget|receipts`: forgetting for good, and where it is done already."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from tarsd.cli.exits import FAILED, OK
from tarsd.cli.memory_common import agreed, client_of, moment_of, path_of, print_json, words_of
from tarsd.cli.memory_texts import MemoryWords
from tarsd.cli.terminal import printable, styled, table
from tarsd.errors import InvalidInput


def forget(args: argparse.Namespace) -> int:
    """Show what would be forgotten, ask, forget, and show the receipts; exit code 1 where something failed."""
    if bool(args.keys) == bool(args.conversation):
        raise InvalidInput("name the KEYs to forget, or one --conversation")
    paths = [path_of(key) for key in args.keys] or [f"/api/memories/conversation/{args.conversation}"]
    words = words_of(args)
    if args.preview or not args.yes:
        previews = asyncio.run(_forget(args, paths, preview=1))
        if args.preview and args.json:
            print_json({"receipts": previews})
            return OK
        _show_preview(previews, words, sys.stdout if args.preview else sys.stderr)
        if args.preview:
            return OK
        if not agreed(words.sure, words):
            print(words.not_done, file=sys.stderr)
            return FAILED
    receipts = asyncio.run(_forget(args, paths, preview=0))
    if args.json:
        print_json({"receipts": receipts})
    else:
        for one in receipts:
            _show_receipt(one, words)
    return FAILED if any(node["state"] == "failed" for one in receipts for node in one["nodes"]) else OK


def receipts(args: argparse.Namespace) -> int:
    """List the receipts, or show one as it stands now."""
    found = asyncio.run(_receipts(args))
    if args.json:
        print_json(found)
        return OK
    words = words_of(args)
    if args.receipt:
        _show_receipt(found, words)
    elif found["receipts"]:
        print(table(words.receipts_header, [_row(one, words) for one in found["receipts"]]))
    else:
        print(words.no_receipts)
    return OK


async def _forget(args: argparse.Namespace, paths: list[str], preview: int) -> list[Any]:
    async with client_of(args) as client:
        return [await client.json("DELETE", path, params={"preview": preview}) for path in paths]


async def _receipts(args: argparse.Namespace) -> Any:
    async with client_of(args) as client:
        if args.receipt:
            return await client.json("GET", f"/api/receipts/{path_of(args.receipt).removeprefix('/api/memories/')}")
        return await client.json("GET", "/api/receipts", params={"limit": args.limit})


def _show_preview(previews: list[Any], words: MemoryWords, stream: Any) -> None:
    print(words.would_forget, file=stream)
    for one in previews:
        _show_keys(one, words, stream)


def _show_keys(one: Mapping[str, Any], words: MemoryWords, stream: Any) -> None:
    for key in one["keys"]:
        print(f"  {printable(key)}", file=stream)
    if more := one.get("more"):  # an older node lists them all
        print(f"  {words.more_keys.format(count=more)}", file=stream)


def _show_receipt(one: Mapping[str, Any], words: MemoryWords) -> None:
    print(words.receipt.format(receipt=printable(one["receipt"])))
    _show_keys(one, words, sys.stdout)
    if one["nodes"]:
        print(table(words.removed_header, [_removed(node, words) for node in one["nodes"]]))
    whole = one["is_whole"]
    told = words.whole if whole else words.not_whole.format(receipt=printable(one["receipt"]))
    print(styled(told, "green" if whole else "yellow"))


def _removed(node: Mapping[str, Any], words: MemoryWords) -> list[str]:
    counts = [str(node[name]) for name in ("records", "vectors", "keywords", "cached", "conversations")]
    remarks = [node["reason"]]
    remarks += [words.backups.format(files=", ".join(node["backups"]))] if node["backups"] else []
    remarks += [words.damaged.format(files=", ".join(node["damaged_copies"]))] if node["damaged_copies"] else []
    return [node["node"], words.states[node["state"]], *counts, "; ".join(filter(None, remarks)) or "-"]


def _row(one: Mapping[str, Any], words: MemoryWords) -> list[str]:
    whole = words.yes if one["is_whole"] else "-"
    return [one["receipt"], moment_of(one["at"]), whole, ", ".join(one["keys"])]
