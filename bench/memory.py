"""Memory: nothing acknowledged is lost, copies are quick, what is forgotten is gone, and what is asked for is found.

Real stores, real daemons over loopback, the bundled models. A full run takes an hour or more; `--quick` some minutes;
`--only crashes,forget` picks parts.
"""

from __future__ import annotations

import argparse

from bench.harness import Context, Row
from bench.parts import add_only, run_parts

NAME = "memory"
IN_ALL = False
PARTS = {
    "crashes": "acknowledged records lost by crashes",
    "replication": "lag, copies, healing, new nodes",
    "forget": "bytes left after forgetting",
    "search": "search among 100,000 entries",
    "summaries": "facts kept by summaries",
    "layer1": "memory of ten conversations",
    "compaction": "near-duplicates merged",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    add_only(parser, PARTS)


async def run(context: Context) -> list[Row]:
    """Run the parts one after another."""
    return await run_parts(context, NAME, PARTS)
