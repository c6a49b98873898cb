"""`tarsd memory status`: whether the records are safe, on every core PC."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import OK
from tarsd.cli.language import texts_for
from tarsd.cli.memory_status_words import StatusWords, status_words
from tarsd.cli.models import in_bytes
from tarsd.cli.terminal import printable, styled, table

_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def status(args: argparse.Namespace) -> int:
    """Show how the copies of the records stand."""
    found = asyncio.run(_get(args))
    if args.json:
        print(msgspec.json.encode(found).decode(), flush=True)
    else:
        print(told(found, status_words(texts_for(args.lang).code), time.time()))
    return OK


async def _get(args: argparse.Namespace) -> Any:
    async with ApiClient(target_of(args)) as client:
        return await client.json("GET", "/api/memory/status")


def told(found: Mapping[str, Any], words: StatusWords, now_s: float) -> str:
    """Return the account as text; `now_s` is what ages are counted to."""
    asked = [(entry["name"], entry["status"]) for entry in found["nodes"] if entry["status"]]
    lines = [table(words.header, [_node_row(name, node) for name, node in asked])] if asked else []
    for name, node in asked:
        lines += ["", table([f"{name}: {words.copies_header[0]}", *words.copies_header[1:]], _rows(node, words))]
    return "\n".join([*lines, "", *_remarks(found, asked, words, now_s)])


def _node_row(name: str, node: Mapping[str, Any]) -> list[str]:
    disk = node["disk_bytes"]
    counts = [str(node[field]) for field in ("records", "single", "waiting", "quarantined")]
    sizes = [in_bytes(disk.get(part, 0)) for part in ("database", "wal", "vectors", "backups")]
    return [name, *counts, *sizes, in_bytes(node["disk_free_bytes"])]


def _rows(node: Mapping[str, Any], words: StatusWords) -> list[list[str]]:
    return [[other["name"], other["state"], _has(other, words)] for other in node["others"]]


def _has(other: Mapping[str, Any], words: StatusWords) -> str:
    if other["behind"] < 0:
        return words.unknown
    if not other["behind"]:
        return words.whole
    return words.behind.format(records=other["behind"], age=_age(other["behind_s"], words))


def _remarks(
    found: Mapping[str, Any], asked: list[tuple[str, Mapping[str, Any]]], words: StatusWords, now_s: float
) -> list[str]:
    lines = [line for name, node in asked for line in _of_node(name, node, words, now_s)]
    wanted = max((node["copies_wanted"] for _, node in asked), default=0)
    if wanted > 1 and not any(node["single"] for _, node in asked):
        lines.append(styled(words.all_safe, "green"))
    elif wanted == 1:
        lines.append(words.only_one)
    branches = {origin for _, node in asked for origin in node["branches"]}
    lines += [_warning(words.branch.format(origin=origin)) for origin in sorted(branches)]
    away = (entry for entry in found["nodes"] if not entry["status"])
    return lines + [printable(words.away.format(node=entry["name"], reason=entry["error"])) for entry in away]


def _of_node(name: str, node: Mapping[str, Any], words: StatusWords, now_s: float) -> list[str]:
    lines: list[str] = []
    for other, way in node["syncing"].items():
        percent = 100 * way["records"] // max(1, way["of"])
        lines.append(printable(words.syncing.format(node=name, other=other, percent=percent, **way)))
    if node["single"] and node["copies_wanted"] > 1:
        age = _age(now_s - node["single_at"], words)
        lines.append(_warning(words.single.format(node=name, count=node["single"], age=age)))
    lines += [_warning(words.refused.format(node=name, note=note)) for note in node["refused"]]
    for origin, ahead_s in node["clock_ahead_s"].items():
        lines.append(_warning(words.clock.format(node=name, origin=origin, age=_age(ahead_s, words))))
    return lines


def _warning(text: str) -> str:
    return styled(f"! {printable(text)}", "yellow")


def _age(seconds: float, words: StatusWords) -> str:
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {words.units[unit]}"
    return f"{max(0.0, seconds):.1f} {words.units['s']}"
