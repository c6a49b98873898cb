"""What was measured on this PC, kept through restarts: one `Speed` for each engine and model."""

from __future__ import annotations

from pathlib import Path

from tarsd.calls import Speed
from tarsd.models.notes import Notes

FILE = "speed.json"


class SpeedBook:
    """The newest measurement of each engine and model, in `data_dir`/speed.json."""

    def __init__(self, data_dir: Path) -> None:
        self._notes: Notes[list[Speed]] = Notes(data_dir / FILE, list[Speed])
        self._known = {(speed.engine, speed.model): speed for speed in self._notes.read() or []}

    def of(self, engine: str, model: str) -> Speed | None:
        """Return what was measured of a model with an engine."""
        return self._known.get((engine, model))

    def of_model(self, model: str) -> Speed | None:
        """Return the newest measurement of a model, with whatever engine."""
        found = [speed for speed in self._known.values() if speed.model == model]
        return max(found, key=lambda speed: speed.at, default=None)

    def note(self, speed: Speed) -> None:
        """Keep a measurement, on disk before it is told; raises `StorageError`."""
        known = self._known | {(speed.engine, speed.model): speed}
        self._notes.write(list(known.values()))
        self._known = known
