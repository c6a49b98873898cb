"""The picture of a stress run: what each node held over time, how long each question took, and the faults as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.samples import Sample
from bench.stress_verdict import Event

COLOURS = {"kill": "tab:red", "freeze": "tab:orange", "worker": "tab:purple"}

SERIES = (
    ("daemon memory, MiB", "rss_mib"),
    ("open files", "open_files"),
    ("asyncio tasks", "tasks"),
    ("disk, MiB", "disk_mib"),
)


def plot(samples: Sequence[Sample], events: Sequence[Event], file: Path) -> None:
    """Write the picture as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(5, 1, figsize=(11, 14), sharex=True, layout="constrained")
    for axis, (title, attribute) in zip(axes, SERIES, strict=False):
        _draw_series(axis, title, attribute, samples)
    _draw_latency(axes[len(SERIES)], events)
    for axis in axes:
        for event in events:
            if event.kind in COLOURS:
                axis.axvline(event.at_s / 60, color=COLOURS[event.kind], linewidth=0.7, alpha=0.6)
    axes[-1].set_xlabel("minutes (red line: a node killed, orange: frozen, purple: a worker killed)")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _draw_series(axis: Any, title: str, attribute: str, samples: Sequence[Sample]) -> None:
    for node in sorted({sample.node for sample in samples}):
        own = [sample for sample in samples if sample.node == node]
        axis.plot([each.at_s / 60 for each in own], [getattr(each, attribute) for each in own], ".", ms=2, label=node)
    axis.set_ylabel(title)
    axis.set_ylim(bottom=0)
    if samples:
        axis.legend(loc="lower right")


def _draw_latency(axis: Any, events: Sequence[Event]) -> None:
    asked = [event for event in events if event.kind == "question"]
    for colour, label, chosen in (
        ("tab:blue", "answered", [e for e in asked if e.ok and not e.degraded]),
        ("tab:olive", "degraded", [e for e in asked if e.ok and e.degraded]),
        ("tab:red", "failed", [e for e in asked if not e.ok]),
    ):
        axis.plot(
            [e.at_s / 60 for e in chosen], [e.first_token_s for e in chosen], ".", color=colour, ms=4, label=label
        )
    axis.set_ylabel("first token, s")
    axis.legend(loc="upper right")
