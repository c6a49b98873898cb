"""Real kill -9 of a real process, at a moment drawn by chance, anywhere from its first instruction to its last.

The process tells over a pipe what it is about to do and what it has done. What was in the pipe when it died counts:
whoever reads it would have believed it. A killed process loses nothing that it gave the system, so this shows whether
every order of steps can be cut off; what a lost disk cache does is `simulated`'s.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from bench.crashes.promises import Account, look
from bench.crashes.writer import BACKUPS, Writer
from tarsd.memory.backup_file import listed

KILLS_OF_ONE_DATABASE = 50  # then a new one: checks take longer as it grows
_TURNS = 400
_START_S = 30.0


@dataclass
class Tally:
    """What many crashes came to."""

    crashes: int = 0
    acknowledged: int = 0
    forgotten: int = 0
    lost: list[str] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """Every broken promise, with the seed that shows it."""
        return [*self.lost, *self.appeared, *self.returned, *self.corrupt]


def kills(folder: Path, count: int, seed: int, *, longest_s: float = 0.6) -> Tally:
    """Kill a writer so often and look after each; `seed` decides what is written and when it is killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.crashes.kills"])
    tally, random = Tally(), Random(seed)
    for first in range(0, count, KILLS_OF_ONE_DATABASE):
        home = folder / f"kills-{first}"
        home.mkdir(parents=True)
        account = Account()
        for number in range(first, min(count, first + KILLS_OF_ONE_DATABASE)):
            before = len(account.acknowledged) + len(account.forgotten)
            _kill_once(context, home, f"{seed}k{number}", account, random.uniform(0.0, longest_s))
            tally.crashes += 1
            _judge(home, account, tally, f"kill {number} of seed {seed}")
            tally.acknowledged += len(account.acknowledged) + len(account.forgotten) - before
        tally.forgotten += len(account.forgotten)
        if not tally.broken:
            shutil.rmtree(home)
    return tally


def _kill_once(
    context: multiprocessing.context.ForkServerContext, home: Path, seed: str, account: Account, after_s: float
) -> None:
    ours, theirs = context.Pipe(duplex=False)
    names = sorted(account.acknowledged)
    process = context.Process(target=_child, args=(str(home / "memory.db"), seed, names, theirs), daemon=True)
    process.start()
    theirs.close()
    if not ours.poll(_START_S):
        raise AssertionError(f"the writer of {seed} did not begin")
    process.join(after_s)
    process.kill()
    process.join()
    for event in _said(ours):
        if event[0] == "failed":
            raise AssertionError(f"the writer of {seed} failed: {event[2][0]}")
        account.heard(event)
    ours.close()


def _said(pipe: Connection) -> Generator[tuple[str, int, list[str]], None, None]:
    while True:
        try:
            yield pipe.recv()
        except (EOFError, OSError):  # the end, or a message that was cut off
            return


def _child(path: str, seed: str, names: list[str], pipe: Connection) -> None:
    pipe.send(("begins", 0, []))
    try:
        asyncio.run(Writer(Path(path), seed, names, pipe.send).run(_TURNS))
    except Exception as error:
        pipe.send(("failed", 0, [f"{type(error).__name__}: {error}"]))
    os._exit(0)  # the thread of a database that was left open would keep it


def _judge(home: Path, account: Account, tally: Tally, name: str) -> None:
    verdict = asyncio.run(look(home / "memory.db", account))
    account.settle(verdict.shown)
    torn = [each.problem for each in listed(home / BACKUPS) if each.problem]
    tally.lost += [f"{name}: lost {each}" for each in verdict.lost]
    tally.appeared += [f"{name}: appeared {each}" for each in verdict.appeared]
    tally.returned += [f"{name}: came back {each}" for each in verdict.returned]
    tally.corrupt += [f"{name}: {each}" for each in (*verdict.corrupt, *torn)]
