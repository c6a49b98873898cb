"""What every bench shares: its context, its rows, and how they are shown and written.

Rules
1. A figure comes with its unit, its spread, its aim, and where there is one a reference measured in the same run, in
   alternation: on shared machines only the ratio of the two travels.
2. A row taken while others used the CPU is marked; its aim is then neither met nor missed.
3. The JSON has the table's rows and the samples behind them.
4. A figure that cannot be taken here says why; no number stands in for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from bench.quiet import Foreign

Verdict = Literal["met", "missed", "contended", "no aim", "not available"]


class NotAvailableError(Exception):
    """What is to be measured is not there; the text says what and why."""


class Row(msgspec.Struct, kw_only=True):
    """One figure. `aim` is a bound on the median: "<=" or ">=" and a number; on the ratio when `aim_on` says so."""

    figure: str
    unit: str
    samples: list[float]
    aim: float | None = None
    aim_is: Literal["<=", ">="] = "<="
    aim_on: Literal["value", "ratio"] = "value"
    reference: list[float] = []
    reference_name: str = ""
    foreign_cpu: float = 0.0  # CPUs that others used meanwhile
    contended: bool = False
    note: str = ""
    missing: str = ""  # why there are no samples (rule 4)

    @property
    def median(self) -> float:
        """The figure itself; raises `statistics.StatisticsError` where there is none."""
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The median over the reference's median; None without a reference."""
        if not self.samples or not self.reference or not (below := statistics.median(self.reference)):
            return None
        return self.median / below

    @property
    def verdict(self) -> Verdict:
        """Whether the aim is met; a contended run can meet an aim, never miss one."""
        if not self.samples:
            return "not available"
        value = self.ratio if self.aim_on == "ratio" else self.median
        if self.aim is None or value is None:
            return "no aim"
        if value <= self.aim if self.aim_is == "<=" else value >= self.aim:
            return "met"
        return "contended" if self.contended else "missed"


@dataclass
class Context:
    """What a bench is given."""

    quick: bool
    options: argparse.Namespace
    folder: Path  # for its files; kept after the run
    started: float = field(default_factory=time.monotonic)

    def pick(self, quick: int, full: int) -> int:
        """Return how many repetitions to make."""
        return quick if self.quick else full

    @asynccontextmanager
    async def watched(self, rows: list[Row]) -> AsyncGenerator[None, None]:
        """Mark the rows that are added to `rows` inside with the CPU that others used meanwhile."""
        before = len(rows)
        with Foreign() as foreign:
            yield
        for row in rows[before:]:
            row.foreign_cpu, row.contended = round(foreign.share, 2), foreign.contended


class Report(msgspec.Struct, kw_only=True):
    """A run of one bench, as it is written."""

    bench: str
    quick: bool
    at: str
    machine: str
    seconds: float
    rows: list[Row]


def machine() -> str:
    """Return what this was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )

    return f"{model}, {os.cpu_count()} CPUs, Python {platform.python_version()}, Linux {platform.release()}"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a text table; it is valid Markdown, so that a README can take it."""
    head = ("figure", "measured", "min-max", "unit", "aim", "reference", "ratio", "")
    lines = [head, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def show(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([show(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(show, lines[1:])])


def _cells(row: Row) -> tuple[str, ...]:
    aim = "" if row.aim is None else f"{row.aim_is} {number(row.aim)}" + (" x" if row.aim_on == "ratio" else "")
    if not row.samples:
        return row.figure, "not available", "", row.unit, aim, "", "", row.missing
    reference = f"{number(statistics.median(row.reference))} {row.reference_name}".strip() if row.reference else ""
    ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
    verdict = "" if row.verdict == "no aim" else row.verdict
    busy = f"others used {row.foreign_cpu:.1f} CPU" if row.contended else ""
    remark = "; ".join(part for part in (verdict if verdict != "contended" else "not met", busy, row.note) if part)
    spread = f"{number(min(row.samples))}-{number(max(row.samples))}" if len(row.samples) > 1 else ""
    return row.figure, number(row.median), spread, row.unit, aim, reference, ratio, remark


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    return (
        f"{value:.0f}"
        if size >= 100
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
        if size >= 1
        else f"{value:.3g}"
    )
