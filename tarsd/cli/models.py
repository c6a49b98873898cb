"""`tarsd models list|pull|rm`: the models of all PCs, taking one in, removing one."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import FAILED, OK
from tarsd.cli.language import texts_for
from tarsd.cli.models_words import WORDS, ModelWords
from tarsd.cli.terminal import Progress, printable, styled, table

_UNITS = ("B", "kB", "MB", "GB", "TB")


def usage(args: argparse.Namespace) -> int:
    """Without a word behind it, `tarsd models` lists."""
    return list_models(args)


def list_models(args: argparse.Namespace) -> int:
    """List the models of every PC; none at all is exit code 1."""
    found = asyncio.run(_get(args))
    if args.json:
        print(msgspec.json.encode(found).decode())
        return OK if found["models"] else FAILED
    words = words_of(args)
    if found["models"]:
        print(table(words.list_header, [_row(model, words) for model in found["models"]]))
    else:
        print(words.none)
    for node, reason in found["unreachable"].items():
        print(styled(words.unreachable.format(node=node, reason=printable(reason)), "yellow"), file=sys.stderr)
    return OK if found["models"] else FAILED


def pull(args: argparse.Namespace) -> int:
    """Take a model in, with its progress; Ctrl-C leaves it going on at the node."""
    return asyncio.run(_pull(args, words_of(args)))


def remove(args: argparse.Namespace) -> int:
    """Unload a model and delete its file, after asking."""
    words = words_of(args)
    if not args.yes and not _agreed(words.sure.format(model=printable(args.model)), words):
        print(words.not_done, file=sys.stderr)
        return FAILED
    found = asyncio.run(_remove(args))
    if args.json:
        print(msgspec.json.encode(found).decode())
    else:
        detail, size = printable(found["detail"]), in_bytes(found["freed_bytes"])
        print(words.removed.format(model=printable(args.model), detail=detail, size=size))
    return OK


async def _get(args: argparse.Namespace) -> Any:
    async with ApiClient(target_of(args)) as client:
        return await client.json("GET", "/api/models")


async def _remove(args: argparse.Namespace) -> Any:
    async with ApiClient(target_of(args, admin=True)) as client:
        return await client.json("DELETE", "/api/delete", body={"model": args.model, "node": args.node})


async def _pull(args: argparse.Namespace, words: ModelWords) -> int:
    shown, last = Progress(), dict[str, Any]()
    pace = Pace()
    async with ApiClient(target_of(args, admin=True)) as client:
        body = {"model": args.model, "node": args.node, "sha256": args.sha256}
        try:
            async with aclosing(client.lines("POST", "/api/pull", body=body)) as lines:
                async for last in lines:
                    if args.json:
                        print(msgspec.json.encode(last).decode(), flush=True)
                    else:
                        done, total = last.get("completed", 0), last.get("total", 0)
                        shown.show(_told(args.model, last, pace, words), _stage(last, words), done, total)
        finally:
            shown.clear()
    whole = last.get("status") == "success"
    if whole and not args.json:
        digest = last.get("digest", "").removeprefix("sha256:")
        print(words.here.format(model=printable(args.model), origin=last.get("origin") or "-", digest=digest[:16]))
    return OK if whole else FAILED


class Pace:
    """Bytes per second of late, over the lines of a pull."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def took(self, done: int, now: float) -> float:
        """Note how many bytes are here, and return the speed over the last few seconds."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen = [*(one for one in self._seen if now - one[0] <= 3.0), (now, done)]
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0


def _stage(line: Mapping[str, Any], words: ModelWords) -> str:
    status = str(line.get("status", ""))
    return words.stages.get(status, words.stages["pulling"])


def _told(model: str, line: Mapping[str, Any], pace: Pace, words: ModelWords) -> str:
    parts = [printable(model)]
    if total := line.get("total", 0):
        done = line.get("completed", 0)
        parts.append(f"{in_bytes(done)} / {in_bytes(total)}")
        if speed := pace.took(done, time.monotonic()):
            parts.append(f"{in_bytes(speed)}/s")
    parts += [printable(str(line[key])) for key in ("origin", "reason") if line.get(key)]
    return "  ".join(parts) if sys.stderr.isatty() else printable(model)


def _row(model: Mapping[str, Any], words: ModelWords) -> list[str]:
    remark = model["reason"]
    if model["expires_s"] is not None and not remark:
        remark = words.stays.format(seconds=model["expires_s"])
    speed = model["speed"]
    return [
        model["node"],
        model["name"],
        words.states.get(model["state"], model["state"]),
        in_bytes(model["size_bytes"]) if model["size_bytes"] else "-",
        in_short(model["parameters"]),
        " ".join(filter(None, (model["architecture"], model["quantization"]))) or "-",
        str(model["context_tokens"] or "-"),
        model["engine"] or "-",
        f"{speed['tokens_per_s']:.1f}" if speed else "-",
        remark or (model["source"] if model["source"].startswith("hf:") else "") or "-",
    ]


def in_bytes(count: float) -> str:
    """Return a number of bytes as a person reads it."""
    size = float(count)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def in_short(count: int) -> str:
    """Return a number of parameters as a person reads it."""
    for size, unit in ((10**9, "B"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return str(count) if count else "-"


def words_of(args: argparse.Namespace) -> ModelWords:
    """Return the words of the language that the arguments or the environment mean."""
    return WORDS[texts_for(args.lang).code]


def _agreed(question: str, words: ModelWords) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    said = sys.stdin.readline().strip().lower()
    return bool(said) and said in (words.yes, words.yes[0])
