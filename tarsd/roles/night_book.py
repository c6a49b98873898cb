"""The file that keeps a node's nights: when each job last began, what is not ended yet, how far each part came.

It is written whole and put in place at once, so that a kill leaves the old or the new one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from tarsd.errors import StorageError

log = logging.getLogger(__name__)


class PartResult(msgspec.Struct, frozen=True):
    """What a part of a job came to."""

    changed: int
    detail: str
    ok: bool = True


class Begun(msgspec.Struct):
    """A job that has begun and not ended: when, how often, and the parts that ended."""

    began: datetime
    beginnings: int = 0
    ended: dict[str, PartResult] = {}


class _Kept(msgspec.Struct):
    last: dict[str, datetime] = {}
    open: dict[str, Begun] = {}
    cursors: dict[str, str] = {}


class NightBook:
    """Raises `StorageError` where it cannot be written; one that cannot be read counts the nights anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _read(path)

    @property
    def last(self) -> dict[str, datetime]:
        """When each job last began."""
        return self._kept.last

    @property
    def open(self) -> dict[str, Begun]:
        """The jobs that have not ended."""
        return self._kept.open

    @property
    def cursors(self) -> dict[str, str]:
        """How far each part came."""
        return self._kept.cursors

    def cut_off(self) -> dict[str, int]:
        """Return how often each job began that has not ended; one that was only cancelled counts as begun once."""
        return {job: max(1, begun.beginnings) for job, begun in self._kept.open.items()}

    def note_start(self, jobs: Sequence[str], now: datetime) -> None:
        """Write down that these jobs begin."""
        self._kept.last.update(dict.fromkeys(jobs, now))
        self._write()

    def begin(self, job: str, now: datetime, is_going_on: bool) -> Begun:
        """Write down that a job begins, or goes on after it was cut off."""
        begun = self._kept.open[job] if is_going_on else Begun(now)
        begun.beginnings += 1
        self._kept.open[job] = begun
        self.note_start([job], now)
        return begun

    def part_ended(self, job: str, part: str, result: PartResult) -> None:
        """Write down what a part came to."""
        self._kept.open[job].ended[part] = result
        self._write()

    def note_cursor(self, part: str, cursor: str) -> None:
        """Write down how far a part came."""
        self._kept.cursors[part] = cursor
        self._write()

    def was_cancelled(self, job: str) -> None:
        """Take back a beginning: the node is well, only this run was ended."""
        self._kept.open[job].beginnings -= 1
        self._write()

    def end(self, job: str) -> None:
        """Write down that a job has ended."""
        self._kept.open.pop(job, None)
        self._write()

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(self._kept))
            os.replace(fresh, self._path)
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error


def _read(path: Path) -> _Kept:
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return _Kept()
    except OSError as error:
        log.warning("%s: %s; the nights are counted anew", path, error)
        return _Kept()
    try:
        return msgspec.json.decode(packed, type=_Kept) if b'"last"' in packed else _Kept(_of_old(packed))
    except msgspec.DecodeError as error:
        log.warning("%s: %s; the nights are counted anew", path, error)
        return _Kept()


def _of_old(packed: bytes) -> dict[str, datetime]:
    """Read what earlier versions wrote: the last starts alone."""
    return msgspec.json.decode(packed, type=dict[str, datetime])
