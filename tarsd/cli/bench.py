"""`tarsd bench`: measures a PC's engines and models by running them, and shows the figures."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import aclosing
from typing import Any

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import FAILED, OK
from tarsd.cli.models import in_bytes, words_of
from tarsd.cli.models_words import ModelWords
from tarsd.cli.terminal import Progress, printable, styled, table


def bench(args: argparse.Namespace) -> int:
    """Measure; what could not be measured, or nothing at all, is exit code 1."""
    return asyncio.run(_bench(args, words_of(args)))


async def _bench(args: argparse.Namespace, words: ModelWords) -> int:
    speeds, failed, shown = list[dict[str, Any]](), list[str](), Progress()
    body = {"models": args.models, "quick": args.quick, "node": args.node}
    async with ApiClient(target_of(args, admin=True)) as client:
        try:
            async with aclosing(client.lines("POST", "/api/measure", body=body)) as lines:
                async for line in lines:
                    if args.json:
                        print(msgspec.json.encode(line).decode(), flush=True)
                    elif line["doing"]:
                        shown.show("", printable(line["doing"]), 0, 0)
                    if line["speed"]:
                        speeds.append(line["speed"])
                    if line["failed"]:
                        failed.append(line["failed"])
        finally:
            shown.clear()
    if not args.json:
        if speeds:
            print(table(words.bench_header, [_row(speed, words) for speed in speeds]))
        for reason in failed:
            print(styled(words.not_measured.format(reason=printable(reason)), "yellow"), file=sys.stderr)
    return OK if speeds and not failed else FAILED


def _row(speed: dict[str, Any], words: ModelWords) -> list[str]:
    return [
        speed["engine"],
        speed["model"],
        f"{speed['load_s']:.2f} s" if speed["load_s"] else "-",
        f"{speed['first_token_s'] * 1000:.0f} ms",
        f"{speed['prompt_tokens_per_s']:.1f}",
        f"{speed['tokens_per_s']:.1f}",
        words.alone.format(total=speed["together_tokens_per_s"], count=speed["together"]),
        in_bytes(speed["memory_bytes"]) if speed["memory_bytes"] else "-",
    ]
