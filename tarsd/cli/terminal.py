"""What appears on a terminal: tables, a progress line, and colours where they are wanted."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

_BAR = 24
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def styled(text: str, style: str, stream: TextIO = sys.stdout) -> str:
    """Return `text` in a style where `stream` is a terminal and nobody set NO_COLOR."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def printable(text: str) -> str:
    """Return `text` without control characters: what a document or model says must not drive the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table; the last column is cut to the terminal's width."""
    lines = [list(header), *([printable(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    shown = []
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        shown.append(_cut(text))
    shown[0] = styled(shown[0], "bold")
    return "\n".join(shown)


def _cut(text: str) -> str:
    width = shutil.get_terminal_size((0, 0)).columns if sys.stdout.isatty() else 0
    return text if not width or len(text) <= width else text[: width - 1] + "…"


class Progress:
    """One line that is written over and over on a terminal, and one line per stage anywhere else."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._stage = ""

    def show(self, name: str, stage: str, done: int, total: int) -> None:
        """Show how far `name` is."""
        if not self._live:
            if stage != self._stage:
                print(f"{name}: {stage}" if name else stage, file=self._stream, flush=True)
            self._stage = stage
            return
        share = min(1.0, done / total) if total else 0.0
        bar = "█" * round(share * _BAR) + "░" * (_BAR - round(share * _BAR))
        count = f"{share:4.0%}" if total else "    "
        width = shutil.get_terminal_size((80, 24)).columns
        line = f"{bar} {count} {stage:10} {name}"
        self._stream.write("\r\x1b[K" + line[: width - 1])
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        self._stage = ""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
