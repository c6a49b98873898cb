"""`tarsd memory projects|project`: what conversations and memories belong to."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tarsd.cli.exits import OK
from tarsd.cli.memory_common import client_of, day_of, print_json, tell_copies, words_of
from tarsd.cli.memory_texts import MemoryWords
from tarsd.cli.terminal import printable, table


def projects(args: argparse.Namespace) -> int:
    """List the projects that may be seen."""
    found = asyncio.run(_get(args))
    if args.json:
        print_json(found)
        return OK
    words = words_of(args)
    rows = [_row(one, words) for one in found["projects"]]
    print(table(words.projects_header, rows) if rows else words.no_projects)
    return OK


def project(args: argparse.Namespace) -> int:
    """Begin a project, or change the one of this id or name."""
    saved = asyncio.run(_save(args))
    if args.json:
        print_json(saved)
        return OK
    words, one = words_of(args), saved["project"]
    print(words.project_saved.format(name=printable(one["name"]), id=printable(one["id"])))
    tell_copies(saved["copies"], words)
    return OK


async def _get(args: argparse.Namespace) -> Any:
    async with client_of(args) as client:
        return await client.json("GET", "/api/projects")


async def _save(args: argparse.Namespace) -> Any:
    change = {name: getattr(args, name) for name in ("text", "members", "tags")} | {"name": args.rename}
    body = {name: value for name, value in change.items() if value is not None}
    if args.end:
        body["is_ended"] = True
    async with client_of(args) as client:
        known = (await client.json("GET", "/api/projects"))["projects"]
        wanted = [one for one in known if args.name == one["id"]] or [one for one in known if args.name == one["name"]]
        if wanted:
            return await client.json("PATCH", f"/api/projects/{quote(wanted[0]['id'], safe='')}", body=body)
        body.pop("is_ended", None)
        return await client.json("POST", "/api/projects", body={"name": args.name} | body)


def _row(one: Mapping[str, Any], words: MemoryWords) -> list[str]:
    whose = ", ".join(one["members"]) or words.household
    counts = [str(one["memories"]), str(one["summaries"])]
    return [one["id"], one["name"], whose, day_of(one["began_at"]), day_of(one["ended_at"]), *counts]
