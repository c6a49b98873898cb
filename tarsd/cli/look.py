"""`tarsd search`, `members`, `status`, `nightly`: looking at what is there."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import FAILED, OK
from tarsd.cli.language import texts_for
from tarsd.cli.members_view import STATE_STYLES
from tarsd.cli.terminal import printable, styled, table
from tarsd.cli.watch import watch
from tarsd.errors import InvalidInput


def search(args: argparse.Namespace) -> int:
    """Show the passages that fit best; nothing found is exit code 1, as with grep."""
    found = asyncio.run(_get(args, "/api/search", {"q": " ".join(args.query), "limit": args.limit}))
    if args.json:
        _print_json(found)
        return OK if found["hits"] else FAILED
    texts = texts_for(args.lang)
    for number, hit in enumerate(found["hits"], 1):
        passage = hit["passage"]
        page = f", {texts.page} {passage['page']}" if passage["page"] else ""
        print(styled(f"[{number}] {printable(passage['file'])}{page}", "bold"))
        print("    " + printable(passage["text"]).replace("\n", "\n    ") + "\n")
    if found.get("degraded"):
        print(styled(texts.degraded.format(reason=found["degraded"]), "yellow", sys.stderr), file=sys.stderr)
    return OK if found["hits"] else FAILED


def members(args: argparse.Namespace) -> int:
    """List the members once; --watch is another matter."""
    if args.watch:
        return watch(args)
    found = asyncio.run(_get(args, "/api/members"))
    if args.json:
        _print_json(found)
    else:
        print(members_table(found["members"]))
    return OK


def members_table(found: list[dict[str, Any]]) -> str:
    """Return the members as a table; this node first, as the API sorts them."""
    # what a node can do is long: it stands last, where a narrow terminal cuts
    header = ["name", "state", "zone", "roles", "load", "rtt", "heard", "address", "remark", "can"]
    return table(header, [_member_row(member) for member in found])


def _member_row(member: Mapping[str, Any]) -> list[str]:
    load = member["load"]
    busy = f"{load['running']}+{load['queued']}" if load else "-"
    speed = f" {load['tokens_per_s']:.0f} t/s" if load and load["tokens_per_s"] else ""
    own = member["is_self"]
    return [
        member["name"] + (" *" if own else ""),
        member["state"],
        member["zone"] or "?",
        ",".join(member["roles"]) or "-",
        busy + speed,
        "-" if own or not member["rtt_ms"] else f"{member['rtt_ms']:.1f} ms",
        "-" if own else _age(member["last_heard_s"]),
        (member["addresses"] or ["-"])[0],
        member["reason"],
        ",".join(sorted(member["capabilities"])) or "-",
    ]


def _age(seconds: float | None) -> str:
    if seconds is None or seconds > 10 * 86400:
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.1f} s ago"


def status(args: argparse.Namespace) -> int:
    """Show one node's own account, or each node's; a node that is not healthy is exit code 1."""
    if not args.cluster:
        found = asyncio.run(_get(args, "/api/status"))
        if args.json:
            _print_json(found)
        else:
            print(_told(found))
        return OK if found["healthy"] else FAILED
    found = asyncio.run(_get(args, "/api/status", {"cluster": 1}))
    if args.json:
        _print_json(found)
    else:
        print("\n\n".join(_told_entry(entry) for entry in found["nodes"]))
    return OK if all(entry["status"] and entry["status"]["healthy"] for entry in found["nodes"]) else FAILED


def _told_entry(entry: Mapping[str, Any]) -> str:
    if entry["status"]:
        return _told(entry["status"])
    return (
        styled(entry["name"], "bold")
        + f"  {styled(entry['state'], STATE_STYLES.get(entry['state'], 'dim'))}\n  {entry['error']}"
    )


def _told(status: Mapping[str, Any]) -> str:
    health = styled("healthy", "green") if status["healthy"] else styled("not healthy", "red")
    lines = [
        f"{styled(status['name'], 'bold')}  {health}, tarsd {status['version']}, up {_age(status['uptime_s'])[:-4]}",
        f"  roles: {', '.join(status['roles']) or 'none'}",
        *(styled(f"  ! {problem}", "yellow") for problem in status["problems"]),
        *_tree(status["parts"], 1),
    ]
    return "\n".join(lines)


def _tree(value: Mapping[str, Any], depth: int) -> list[str]:
    lines: list[str] = []
    for key, part in value.items():
        if isinstance(part, dict) and part:
            lines += ["  " * depth + f"{key}:", *_tree(part, depth + 1)]
        else:
            shown = ", ".join(map(str, part)) if isinstance(part, list) else part
            lines.append("  " * depth + f"{key}: {printable(str(shown))}")
    return lines


def nightly(args: argparse.Namespace) -> int:
    """Run the nightly jobs now, or show what the node says of them; a job that failed is exit code 1."""
    if args.jobs and not args.now:
        raise InvalidInput("JOB: jobs are named to run them; add --now")
    if args.now:
        return asyncio.run(_run_nightly(args))
    found = asyncio.run(_get(args, "/api/status"))
    parts = found["parts"]
    part = parts.get("nightly") or parts.get("records", {}).get("nightly") or {}
    if args.json:
        _print_json(part)
    elif part:
        print("\n".join(_tree(part, 0)))
    else:
        print("No nightly job has run here yet. `tarsd nightly --now` runs them.")
    return OK


async def _run_nightly(args: argparse.Namespace) -> int:
    results: list[dict[str, Any]] = []
    async with ApiClient(target_of(args, admin=True)) as client:
        async for item in client.lines("POST", "/api/nightly", body={"jobs": args.jobs}):
            results.append(item)
            if args.json:
                _print_json(item)
            else:
                print(styled("ok  " if item["ok"] else "FAIL", "green" if item["ok"] else "red"), end=" ")
                print(f"{item['job']:20} {item['seconds']:6.1f} s  {printable(item['detail'])}", flush=True)
    return OK if all(item["ok"] for item in results) else FAILED


async def _get(args: argparse.Namespace, path: str, params: Mapping[str, str | int] | None = None) -> Any:
    async with ApiClient(target_of(args)) as client:
        return await client.json("GET", path, params=params)


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)
