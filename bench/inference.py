"""Inference: speed against the bare library and its servers, warm conversations, many at once, crashes, memory.

Real daemons, the bundled model, one machine: every comparison is made in turns, and its ratio is what travels. Each
side has the same file, threads, context, prompts and answer lengths, at temperature 0. What a node cannot do yet is
"not available", with the reason. A quick run takes some minutes; `--only single,turns` picks parts.
"""

from __future__ import annotations

import argparse
import importlib
import time

from bench.harness import Context, Row
from bench.inference_node import NotAvailableError

NAME = "inference"
PARTS = {
    "single": "single answer against bare llama-cpp-python",
    "together": "answers at once against other servers",
    "turns": "first token at turn 10",
    "stall": "a long prompt among running answers",
    "pair": "two nodes of 2:1 speed, 20 questions at once",
    "queue": "20 long questions queued",
    "killed": "worker killed in mid-answer",
    "memory": "memory",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--only",
        action="append",
        type=_parts,
        metavar="PART[,PART]",
        help=f"only these parts; may be repeated: {', '.join(PARTS)}",
    )


async def run(context: Context) -> list[Row]:
    """Run the parts one after another."""
    rows: list[Row] = []
    chosen = [part for several in context.options.only or [list(PARTS)] for part in several]
    for part in chosen:
        began, before = time.monotonic(), len(rows)
        async with context.watched(rows):
            try:
                rows += await importlib.import_module(f"bench.inference_{part}").rows(context)
            except NotAvailableError as error:
                rows.append(Row(figure=PARTS[part], unit="", samples=[], missing=str(error)))
        print(f"inference {part}: {len(rows) - before} rows in {time.monotonic() - began:.0f} s", flush=True)
    return rows


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return names
