"""Runs a node's nightly jobs, one after the other, and remembers how far each came.

Rules
1. A part that fails is told and does not stop the others.
2. A start is written down (atomically) before the work: a job that kills the node is not tried for ever.
3. One run at a time; a second one is refused.
4. A job that was cut off goes on at the next look: parts that ended are not repeated, the others find their cursor.
   Being cancelled costs no beginning; dying does.
5. Between its steps a part waits while people's questions run or queue, here or at the node that would do the step;
   no longer than until morning (`planning.nightly`).
6. What changed, or needs a person, is told in the diary.
"""

from __future__ import annotations

import asyncio
import logging
import time as clock
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, time
from functools import partial
from pathlib import Path

from tarsd.calls import NightlyItem
from tarsd.errors import InvalidInput, Overloaded, TarsdError, place_of
from tarsd.memory.bodies import DiaryChange
from tarsd.planning.nightly import JOBS, cluster_key, due, latest_night, patient_until
from tarsd.roles.base import JobResult, NightlyPart
from tarsd.roles.journal import Journal
from tarsd.roles.night_book import NightBook, PartResult

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how soon work goes on when people are done


class NightlyRunner:
    """Runs the parts that `parts` names for each job; `path` keeps the last starts and the cursors.

    `is_busy` tells whether people's questions are running or queued. Without a `journal` no diary is written.
    """

    def __init__(
        self,
        path: Path,
        at: time,
        parts: Mapping[str, Sequence[NightlyPart]],
        is_busy: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
    ) -> None:
        self._book = NightBook(path)
        self._at = at
        self._parts = parts
        self._is_busy = is_busy
        self._journal = journal
        self._running = ""

    def last_runs(self) -> dict[str, str]:
        """Return when each job last began (ISO 8601, local time), and under `running` what is under way."""
        last = {job: began.isoformat(timespec="seconds") for job, began in self._book.last.items()}
        return last | ({"running": self._running} if self._running else {})

    def due(self, now: datetime) -> list[str]:
        """Return the jobs that are due at local time `now`."""
        if missing := [job for job in JOBS if job not in self._book.last]:
            self._book.note_start(missing, now)
        return due(now, self._at, self._book.last, cut_off=self._book.cut_off())

    async def run(self, jobs: Sequence[str], *, only_due: bool, now: datetime) -> AsyncGenerator[NightlyItem, None]:
        """Yield one item a job; raises `InvalidInput` for an unknown job, `Overloaded` while a run is under way."""
        if unknown := [job for job in jobs if job not in JOBS]:
            raise InvalidInput(f"jobs: {unknown[0]!r} is unknown; there are {', '.join(JOBS)}")
        if self._running:
            raise Overloaded("the nightly jobs are running already", retry_after_s=60)
        chosen = [job for job in jobs or JOBS if not only_due or job in self.due(now)]
        self._running = "beginning"
        try:
            for job in chosen:
                yield await self._run_one(job, now, is_asked_for=not only_due)
        finally:
            self._running = ""

    async def _run_one(self, job: str, now: datetime, *, is_asked_for: bool) -> NightlyItem:
        started = clock.monotonic()
        begun = self._book.begin(job, now, self._is_of_tonight(job, now) and not is_asked_for)
        try:
            for name, part in _named(self._parts.get(job, ())):
                if name not in begun.ended:
                    night = TheNight(self, job, name, begun.began, is_asked_for=is_asked_for)
                    self._book.part_ended(job, name, PartResult(*await _run_part(job, part, night)))
        except BaseException:
            self._book.was_cancelled(job)
            raise
        item = _item(job, begun.ended.values(), clock.monotonic() - started)
        await self._tell(job, begun.began, item)
        self._book.end(job)
        log.log(
            logging.INFO if item.ok else logging.WARNING, "nightly %s: %d changed; %s", job, item.changed, item.detail
        )
        return item

    def _is_of_tonight(self, job: str, now: datetime) -> bool:
        begun = self._book.open.get(job)
        return begun is not None and latest_night(now, self._at) <= begun.began <= now

    # --- what the parts are given -----------------------------------------------------------------------------

    def cursor(self, part_name: str) -> str:
        """Return how far a part came."""
        return self._book.cursors.get(part_name, "")

    def key_of(self, job: str, began: datetime) -> str:
        """Return what names the node for the cluster's part of a job."""
        return cluster_key(job, began, self._at)

    async def step(self, job: str, part_name: str, began: datetime, cursor: str, said: str) -> None:
        """Note a part's cursor, then wait for people (rule 5)."""
        if cursor != self.cursor(part_name):
            self._book.note_cursor(part_name, cursor)
        self._running = f"{job}: {said}" if said else job
        left_s = (patient_until(began, self._at) - datetime.now()).total_seconds()
        until = clock.monotonic() + left_s
        while self._is_busy() and clock.monotonic() < until:
            self._running = f"{job}: {said}, waits for people's questions".replace(": ,", ":")
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(0)

    async def intend(self, job: str, began: datetime, changes: Sequence[DiaryChange]) -> None:
        """See `Night`."""
        if self._journal is not None:
            await self._journal.intend(self._entry_id(job, began), job, began.timestamp(), changes)

    async def did(self, job: str, began: datetime) -> None:
        """See `Night`."""
        if self._journal is not None:
            await self._journal.did(self._entry_id(job, began))

    async def _tell(self, job: str, began: datetime, item: NightlyItem) -> None:
        if self._journal is None or (item.ok and not item.changed):
            return
        entry = self._entry_id(job, began)
        try:
            await self._journal.close(entry, job, began.timestamp(), clock.time(), item.detail, ok=item.ok)
        except TarsdError as error:
            log.warning("nightly %s: the diary cannot be written: %s", job, error)

    def _entry_id(self, job: str, began: datetime) -> str:
        node = "".join(each if each.isascii() and each.isalnum() else "-" for each in self._journal_name())[:40]
        return f"{began:%Y%m%dT%H%M%S}-{job}-{node}"

    def _journal_name(self) -> str:
        return self._journal.node if self._journal is not None else ""


class TheNight:
    """What one part of a job is given; see `roles.base.Night`."""

    def __init__(self, runner: NightlyRunner, job: str, part_name: str, began: datetime, *, is_asked_for: bool) -> None:
        self._runner = runner
        self._part_name = f"{job}/{part_name}"
        self.job = job
        self.began = began
        self.is_asked_for = is_asked_for
        self.cluster_key = runner.key_of(job, began)

    @property
    def cursor(self) -> str:
        """See `Night`."""
        return self._runner.cursor(self._part_name)

    async def step(self, cursor: str, said: str = "") -> None:
        """See `Night`."""
        await self._runner.step(self.job, self._part_name, self.began, cursor, said)

    async def intend(self, changes: Sequence[DiaryChange]) -> None:
        """See `Night`."""
        await self._runner.intend(self.job, self.began, changes)

    async def did(self) -> None:
        """See `Night`."""
        await self._runner.did(self.job, self.began)


def _named(parts: Sequence[NightlyPart]) -> list[tuple[str, NightlyPart]]:
    """Return the parts under names that a restart gives them again."""
    names: dict[str, int] = {}
    named = []
    for part in parts:
        inner = part.func if isinstance(part, partial) else part
        name = str(getattr(inner, "__qualname__", type(inner).__name__))
        names[name] = names.get(name, 0) + 1
        named.append((name if names[name] == 1 else f"{name} {names[name]}", part))
    return named


def _item(job: str, results: Iterable[PartResult], seconds: float) -> NightlyItem:
    ended = list(results)
    return NightlyItem(
        job=job,
        ok=all(result.ok for result in ended),
        changed=sum(result.changed for result in ended),
        detail="; ".join(result.detail for result in ended if result.detail),
        seconds=round(seconds, 3),
    )


async def _run_part(job: str, part: NightlyPart, night: TheNight) -> JobResult:
    try:
        return await part(night)
    except TarsdError as error:
        return JobResult(0, f"{type(error).__name__}: {error}", ok=False)
    except Exception as error:
        log.error("nightly %s failed: %s", job, place_of(error))
        return JobResult(0, "internal error, see the log", ok=False)
