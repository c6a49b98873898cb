"""Conversations of a household and a small office, written by hand, with the facts that must be kept of each.

A file has many: `#` names one, `?` is what a person says, `!` what is answered, `=` a fact, in all spellings that count
("|" between them). The facts are what a person would look for a month later; no program chose them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tarsd.memory.facts import plain

FOLDER = Path(__file__).parent / "conversations"


class Written(NamedTuple):
    """One conversation: its exchanges as (question, answer), and the spellings of each fact."""

    name: str
    language: str
    exchanges: list[tuple[str, str]]
    facts: list[list[str]]

    def text(self) -> str:
        """Return all that was said."""
        return "\n".join(f"{question}\n{answer}" for question, answer in self.exchanges)

    def kept(self, summary: str) -> list[bool]:
        """Tell of each fact whether the summary has it, in one of its spellings, not as a part of something longer."""
        return [any(_stands_in(spelling, summary) for spelling in spellings) for spellings in self.facts]


def read_all() -> list[Written]:
    """Return all conversations, those of the languages in turn."""
    languages = [_read(path) for path in sorted(FOLDER.glob("*.txt"))]
    return [found for together in zip(*languages, strict=True) for found in together]


def _read(path: Path) -> list[Written]:
    found: list[Written] = []
    asked = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        mark, _, text = line.partition(" ")
        match mark:
            case "#":
                found.append(Written(text, path.stem, [], []))
            case "?":
                asked = text
            case "!":
                found[-1].exchanges.append((asked, text))
            case "=":
                found[-1].facts.append(text.split(" | "))
            case "":
                pass
            case _:
                raise ValueError(f"{path.name}: a line begins with {mark!r}")
    return found


def _stands_in(spelling: str, summary: str) -> bool:
    words = r"\s+".join(map(re.escape, plain(spelling).split()))
    return re.search(rf"(?<![\w.,]){words}(?!\w|[.,]\d)", plain(summary)) is not None or (
        re.search(rf"(?<!\w){words}(?!\w|[.,]\d)", plain(summary)) is not None and not spelling[0].isdigit()
    )
