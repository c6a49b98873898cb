"""Runs a node's nightly jobs, one after the other, and remembers when each began.

Rules
1. A part that fails is told and does not stop the others.
2. A start is written down (atomically) before the work: a job that kills the node is not tried again and again.
3. One run at a time; a second one is refused.
"""

from __future__ import annotations

import logging
import os
import time as clock
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, time
from pathlib import Path

import msgspec

from tarsd.calls import NightlyItem
from tarsd.errors import InvalidInput, Overloaded, StorageError, TarsdError, place_of
from tarsd.planning.nightly import JOBS, due
from tarsd.roles.base import JobResult, NightlyPart

log = logging.getLogger(__name__)


class NightlyRunner:
    """Runs the parts that `parts` names for each job; `path` keeps the last starts."""

    def __init__(self, path: Path, at: time, parts: Mapping[str, Sequence[NightlyPart]]) -> None:
        self._path = path
        self._at = at
        self._parts = parts
        self._last_run = _read(path)
        self._running = False

    def last_runs(self) -> dict[str, str]:
        """Return when each job last began (ISO 8601, local time)."""
        return {job: began.isoformat(timespec="seconds") for job, began in self._last_run.items()}

    def due(self, now: datetime) -> list[str]:
        """Return the jobs that are due at local time `now`."""
        if missing := [job for job in JOBS if job not in self._last_run]:
            self._note(missing, now)
        return due(now, self._at, self._last_run)

    async def run(self, jobs: Sequence[str], *, only_due: bool, now: datetime) -> AsyncGenerator[NightlyItem, None]:
        """Yield one item a job; raises `InvalidInput` for an unknown job, `Overloaded` while a run is under way."""
        if unknown := [job for job in jobs if job not in JOBS]:
            raise InvalidInput(f"jobs: {unknown[0]!r} is unknown; there are {', '.join(JOBS)}")
        if self._running:
            raise Overloaded("the nightly jobs are running already", retry_after_s=60)
        chosen = [job for job in jobs or JOBS if not only_due or job in self.due(now)]
        self._running = True
        try:
            for job in chosen:
                self._note([job], now)
                yield await self._run_one(job)
        finally:
            self._running = False

    async def _run_one(self, job: str) -> NightlyItem:
        began = clock.monotonic()
        results = [await _run_part(job, part) for part in self._parts.get(job, ())]
        item = NightlyItem(
            job=job,
            ok=all(result.ok for result in results),
            changed=sum(result.changed for result in results),
            detail="; ".join(result.detail for result in results if result.detail),
            seconds=round(clock.monotonic() - began, 3),
        )
        log.log(
            logging.INFO if item.ok else logging.WARNING, "nightly %s: %d changed; %s", job, item.changed, item.detail
        )
        return item

    def _note(self, jobs: Sequence[str], now: datetime) -> None:
        self._last_run.update(dict.fromkeys(jobs, now))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(self._last_run))
            os.replace(fresh, self._path)
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error


async def _run_part(job: str, part: NightlyPart) -> JobResult:
    try:
        return await part()
    except TarsdError as error:
        return JobResult(0, f"{type(error).__name__}: {error}", ok=False)
    except Exception as error:
        log.error("nightly %s failed: %s", job, place_of(error))
        return JobResult(0, "internal error, see the log", ok=False)


def _read(path: Path) -> dict[str, datetime]:
    """Return the last starts; a missing or unreadable file means that none is known."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, datetime])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s: %s; the nights are counted anew", path, error)
        return {}
