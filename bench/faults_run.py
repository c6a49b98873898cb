"""Faults in turns against four real nodes on a LAN of their own, for as long as you like, and a verdict on each.

    python -m bench faults --minutes 60

Questions are asked at two nodes all the time; two others chat, by a scripted server (real HTTP, no model), so that
every character of every answer is known. Each round takes the next fault of the matrix, one in three with a second
fault inside. The records are kept (`*.jsonl`); what the checker finds is printed with its question. Needs root.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterator

from bench.faults.checker import Verdict
from bench.faults.play import PLANS, play
from bench.faults.script import Fault, Kind
from bench.faults.stage import lan_cluster
from bench.harness import Context, Row
from bench.lan import why_not

NAME = "faults"
IN_ALL = False  # it has no quick answer

BEFORE_S, AFTER_S = 2.0, 4.0
WITHIN_S, GAP_S = 40.0, 20.0  # 25 % loss and half a second of delay are among the faults
HEAL_S = 45.0
MINUTES, QUICK_MINUTES = 10.0, 1.0
MATRIX: tuple[tuple[Kind, float, float], ...] = (  # kind, for how long, how much
    ("kill", 2, 0),
    ("freeze", 1, 0),
    ("freeze", 3, 0),
    ("freeze", 10, 0),
    ("freeze", 30, 0),
    ("unplug", 5, 0),
    ("unplug", 60, 0),
    ("silence", 5, 0),
    ("deaf", 10, 0),
    ("mute", 10, 0),
    ("split", 10, 0),
    ("loss", 15, 10),
    ("loss", 15, 25),
    ("loss", 10, 50),
    ("delay", 10, 50),
    ("delay", 10, 300),
    ("jumble", 10, 20),
)
KEYS = (f"f{number}" for number in itertools.count())


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument("--minutes", type=float, default=0.0, help=f"how long; {MINUTES:.0f} unless told")
    parser.add_argument("--seed", type=int, default=1, help="of the order and the targets")


async def run(context: Context) -> list[Row]:
    """Run, and return the counts as rows."""
    if reason := why_not():
        print(f"faults: {reason}")
        return []
    minutes = context.options.minutes or (QUICK_MINUTES if context.quick else MINUTES)
    verdicts: list[Verdict] = []
    async with lan_cluster(PLANS, context.folder / "nodes") as (nodes, lan):
        end = time.monotonic() + minutes * 60
        for number, script in enumerate(scripts(random.Random(context.options.seed))):
            if time.monotonic() > end:
                break
            verdict = await play(
                nodes,
                lan,
                script,
                KEYS,
                after_s=AFTER_S,
                within_s=WITHIN_S,
                gap_s=GAP_S,
                record=context.folder / f"{number:04}-{script[0].kind}.jsonl",
            )
            print(f"{number:4} {'; '.join(map(str, script))}: {verdict}", flush=True)
            verdicts.append(verdict)
            await nodes.wait_full(HEAL_S)
        tracebacks = sum(
            daemon.log.read_text(encoding="utf-8", errors="replace").count("Traceback") for daemon in nodes.daemons
        )
    return _rows(verdicts, tracebacks)


def scripts(rng: random.Random) -> Iterator[list[Fault]]:
    """Yield a script for each round, for ever: the matrix in a new order each time round."""
    for number in itertools.count():
        if number % len(MATRIX) == 0:
            order = rng.sample(MATRIX, len(MATRIX))
        kind, for_s, amount = order[number % len(MATRIX)]
        target = _target(kind, rng)
        script = [Fault(BEFORE_S + rng.random(), kind, target, for_s, amount)]
        if rng.random() < 1 / 3:
            inner = rng.choice(("kill", "freeze"))
            other = rng.choice([daemon for daemon in ("pc2", "pc3", "pc4") if daemon not in target.split(",")])
            script.append(Fault(script[0].at_s + rng.random() * for_s, inner, other, 1 + 2 * rng.random()))
        yield script


def _target(kind: Kind, rng: random.Random) -> str:
    if kind == "split":
        return rng.choice(("pc1,pc2", "pc1,pc3", "pc1,pc4"))
    if kind == "loss":
        return rng.choice(("", "pc2", "pc3"))
    return rng.choice(("pc1", "pc2", "pc3", "pc4"))


def _rows(verdicts: list[Verdict], tracebacks: int) -> list[Row]:
    asked = sum(one.questions for one in verdicts)
    broken = sum(len(one.violations) for one in verdicts)
    flagged, excused = sum(one.flagged for one in verdicts), sum(one.excused for one in verdicts)
    handed_over = sum(one.handed_over for one in verdicts)
    note = f"of {asked} questions in {len(verdicts)} rounds; {handed_over} handed over"
    return [
        Row(figure="violations", unit="", samples=[broken], aim=0, note=note),
        Row(figure="answers that were not whole and said so", unit="", samples=[flagged]),
        Row(figure="questions lost with their own host", unit="", samples=[excused]),
        Row(figure="longest gap in a text", unit="s", samples=[one.worst_gap_s for one in verdicts]),
        Row(figure="tracebacks in the daemons' logs", unit="", samples=[tracebacks], aim=0),
    ]
