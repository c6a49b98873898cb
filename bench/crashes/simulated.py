"""Crashes by the thousand: a real store's work is recorded once, and cut off at many points with many outcomes.

Each history begins on what a crash of the one before left, so recovering is cut off as well. Every image is opened by
the real store and held against what had been acknowledged at that point. A seed decides all of it but for the times in
the records; with the same seed the same crash comes again.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from bench.crashes.disk import Event, Recorder
from bench.crashes.images import Disk
from bench.crashes.kills import Tally
from bench.crashes.promises import Account, Verdict, look
from bench.crashes.writer import BACKUPS, Writer

CRASHES_OF_ONE_HISTORY = 100
HISTORIES_OF_ONE_DATABASE = 10  # then a new one
_TURNS = 25
_SAID = "said"


def simulate(folder: Path, count: int, seed: int, *, disk_lies: bool = False) -> Tally:
    """Cut real histories off at `count` points and look at what is left each time.

    `disk_lies`: syncs do nothing, so much must be lost; it shows that a loss would be seen.
    """
    folder = folder.resolve()  # SQLite names files so
    tally, random = Tally(), Random(seed)
    files: dict[str, bytes] = {}
    account = Account()
    for number, first in enumerate(range(0, count, CRASHES_OF_ONE_HISTORY)):
        if number % HISTORIES_OF_ONE_DATABASE == 0:
            files, account = {}, Account()
        home = folder / "history"
        events = _record(home, f"{seed}h{number}", files, sorted(account.acknowledged))
        if disk_lies:
            events = [event for event in events if event[0] != "sync"]
        crashes = min(CRASHES_OF_ONE_HISTORY, count - first)
        files, account = _crash_all(folder, events, files, account, crashes, random, tally, f"seed {seed}, {number}")
    return tally


def _record(home: Path, seed: str, files: dict[str, bytes], names: list[str]) -> list[Event]:
    """Let a process of its own work on these files; return what it did to the disk and what it said, in order."""
    shutil.rmtree(home, ignore_errors=True)
    _lay_out(home, files)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.crashes.simulated"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(str(home / "memory.db"), seed, names, theirs), daemon=True)
    process.start()
    theirs.close()
    events: list[Event] = ours.recv()
    process.join()
    if failed := [event for event in events if event[0] == "failed"]:
        raise AssertionError(f"the writer of {seed} failed: {failed[0][1]}")
    if not any(event[0] == "sync" for event in events):
        raise AssertionError(f"nothing was heard of the disk of {seed}")
    return [_named(event) for event in events]


def _child(path: str, seed: str, names: list[str], pipe: Connection) -> None:
    events: list[Event] = []
    Recorder(path, events.append)
    try:
        asyncio.run(Writer(Path(path), seed, names, lambda said: events.append((_SAID, said))).run(_TURNS))
    except Exception as error:
        events.append(("failed", f"{type(error).__name__}: {error}"))
    pipe.send(events)
    os._exit(0)  # the thread of a database that was left open would keep it


def _named(event: Event) -> Event:
    return event if event[0] in (_SAID, "failed") else (event[0], Path(event[1]).name, *event[2:])


def _crash_all(
    folder: Path,
    events: list[Event],
    files: dict[str, bytes],
    account: Account,
    crashes: int,
    random: Random,
    tally: Tally,
    name: str,
) -> tuple[dict[str, bytes], Account]:
    """Crash at random points of one history; return one of the disks that were left, and its account."""
    points = sorted(random.randrange(1, len(events) + 1) for _ in range(crashes))
    chosen = random.choice(points)
    disk, said, done = Disk(files), account.copy(), 0
    following = files, account
    for number, point in enumerate(points):
        for event in events[done:point]:
            if event[0] == _SAID:
                said.heard(event[1])
            else:
                disk.take(event)
        done = point
        image = disk.crashed(random)
        verdict = _open(folder / "crashed", image, said)
        _count(tally, verdict, said, f"{name}, crash {number} after {point} of {len(events)} steps")
        if point == chosen:
            settled = said.copy()
            settled.settle(verdict.shown)
            following = image, settled
    return following


def _open(home: Path, image: dict[str, bytes], account: Account) -> Verdict:
    shutil.rmtree(home, ignore_errors=True)
    _lay_out(home, image)
    return asyncio.run(look(home / "memory.db", account))


def _lay_out(home: Path, files: dict[str, bytes]) -> None:
    home.mkdir(parents=True)
    (home / BACKUPS).mkdir()
    for name, content in files.items():
        (home / name).write_bytes(content)


def _count(tally: Tally, verdict: Verdict, account: Account, name: str) -> None:
    tally.crashes += 1
    tally.acknowledged += len(account.acknowledged)
    tally.forgotten += len(account.forgotten)
    tally.lost += [f"{name}: lost {each}" for each in verdict.lost]
    tally.appeared += [f"{name}: appeared {each}" for each in verdict.appeared]
    tally.returned += [f"{name}: came back {each}" for each in verdict.returned]
    tally.corrupt += [f"{name}: {each}" for each in verdict.corrupt]
