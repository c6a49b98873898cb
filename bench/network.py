"""The network: how soon a fault is seen and healed, what it costs the questions, and what all of that costs in peace.

Real daemons, most of them in network namespaces (which need root); `sim` is the real membership under virtual time. A
full run takes about half an hour, a quick one some minutes; `--only failover --only stop` picks parts.

Rows of `stop`, `midanswer`, `survive` and `cpu` name it where a scripted OpenAI-compatible server (real HTTP, no model)
stands in for the model, so that every character is known and the network is what is measured.
"""

from __future__ import annotations

import argparse
import importlib
import time
from types import ModuleType

from bench.harness import Context, Row

NAME = "network"
PARTS = ("failover", "stop", "midanswer", "survive", "cpu", "idle", "flood", "seal", "sim")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench, and those of its parts."""
    parser.add_argument("--only", action="append", choices=PARTS, default=None, help="this part; may be repeated")
    for part in PARTS:
        if (module := _module(part)) is not None and hasattr(module, "arguments"):
            module.arguments(parser)


async def run(context: Context) -> list[Row]:
    """Run the parts one after another."""
    rows: list[Row] = []
    for part in context.options.only or PARTS:
        module = _module(part)
        if module is None:
            print(f"network {part}: not there")
            continue
        began, before = time.monotonic(), len(rows)
        async with context.watched(rows):
            rows += await module.rows(context)
        print(f"network {part}: {len(rows) - before} rows in {time.monotonic() - began:.0f} s", flush=True)
    return rows


def _module(part: str) -> ModuleType | None:
    name = f"bench.network_{part}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None
