"""`tarsd revoke`, `tarsd rotate`: throwing a node out, and replacing the keys that make certificates."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import FAILED, OK
from tarsd.cli.language import texts_for
from tarsd.cli.terminal import printable, styled
from tarsd.cli.trust_words import WORDS, TrustWords

PHASES = ("install", "use", "remove")


def revoke(args: argparse.Namespace) -> int:
    """Throw a node out for good, after asking; not asked, or not answered with yes, is exit code 1."""
    words = _words(args)
    if not _agreed(args, words, words.sure_revoke.format(name=printable(args.name))):
        return FAILED
    body = {"name": args.name, "reason": args.reason}
    found = asyncio.run(_ask(args, "POST", "/api/revoke", body))
    if args.json:
        print(msgspec.json.encode(found).decode())
        return OK
    said = words.already if found["already"] else words.revoked
    print(styled(said.format(name=printable(found["name"]), node=found["node"][:8]), "bold"))
    print(words.knows.format(names=_names(found["acknowledged"], words)))
    if found["waiting"]:
        print(styled(words.waiting.format(names=_names(found["waiting"], words)), "yellow"))
    print(words.kept_core if found["held_authorities"] else words.kept_lab)
    if found["held_authorities"]:
        print(styled(words.held, "yellow"))
    return OK


def rotate(args: argparse.Namespace) -> int:
    """Show how far a replacement is, then go on with it or begin one, after asking."""
    words = _words(args)
    found = asyncio.run(_ask(args, "GET", "/api/rotate"))
    if args.status:
        _show(args, found, words)
        return OK
    if not args.json:
        print(words.takes_part.format(names=_names(found["takes_part"], words)))
        if found["off"]:
            print(words.off.format(names=_names(found["off"], words)))
        print(words.unknown)
    if not _agreed(args, words, words.sure_rotate):
        return FAILED
    _show(args, asyncio.run(_ask(args, "POST", "/api/rotate")), words)
    return OK


def _show(args: argparse.Namespace, found: dict[str, Any], words: TrustWords) -> None:
    if args.json:
        print(msgspec.json.encode(found).decode())
        return
    phase = found["phase"]
    said = {"": words.never, "done": words.done}.get(phase, words.state)
    print(styled(said.format(generation=found["generation"], phase=words.phases.get(phase, phase)), "bold"))
    for step in PHASES:
        if step in found["acknowledged"]:
            print(f"  {words.phases[step]}: {_names(found['acknowledged'][step], words)}")
    if found["off"]:
        print(words.off.format(names=_names(found["off"], words)))
    print(words.root_at.format(name=printable(found["root_at"])) if found["root_at"] else words.root_lost)


def _agreed(args: argparse.Namespace, words: TrustWords, question: str) -> bool:
    """Whether the person means it; a program says so by --yes."""
    if args.yes:
        return True
    print(question, end="", flush=True, file=sys.stderr)
    answer = sys.stdin.readline().strip().lower()
    if answer in (words.yes, words.yes[0], "yes", "y", "si"):
        return True
    print(words.not_done, file=sys.stderr)
    return False


def _names(names: Sequence[str], words: TrustWords) -> str:
    return ", ".join(map(printable, names)) or words.none


def _words(args: argparse.Namespace) -> TrustWords:
    return WORDS[texts_for(args.lang).code]


async def _ask(args: argparse.Namespace, method: str, path: str, body: object = None) -> dict[str, Any]:
    async with ApiClient(target_of(args, admin=True)) as client:
        reply: dict[str, Any] = await client.json(method, path, body=body)
        return reply
