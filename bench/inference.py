"""Inference: speed against the bare library and its servers, warm conversations, many at once, crashes, memory.

Real daemons, the bundled model, one machine: every comparison is made in turns, and its ratio is what travels. Each
side has the same file, threads, context, prompts and answer lengths, at temperature 0. What a node cannot do yet is
"not available", with the reason. A quick run takes some minutes; `--only single,turns` picks parts.
"""

from __future__ import annotations

import argparse

from bench.harness import Context, Row
from bench.parts import add_only, run_parts

NAME = "inference"
PARTS = {
    "single": "single answer against bare llama-cpp-python",
    "together": "answers at once against other servers",
    "turns": "first token at turn 10",
    "stall": "a long prompt among running answers",
    "pair": "two nodes of 2:1 speed, 20 questions at once",
    "spread": "two nodes of 2:1 speed, 20 questions at once, scripted models",
    "queue": "20 long questions queued",
    "killed": "worker killed in mid-answer",
    "memory": "memory",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    add_only(parser, PARTS)


async def run(context: Context) -> list[Row]:
    """Run the parts one after another."""
    return await run_parts(context, NAME, PARTS)
