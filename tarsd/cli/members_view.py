"""How the members look on a terminal: pure functions from what the API told to lines of text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tarsd.cli.terminal import printable
from tarsd.cli.watch_words import WatchWords, told_reason

STATE_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim", "revoked": "red"}
_LOADING, _DRAINING = 1, 4  # of gossip's flags
_LEAST_HAPPENINGS = 3
_LONG_AGO_S = 10 * 86400


class Cell(NamedTuple):
    """A piece of a line and its style; "" = none."""

    text: str
    style: str = ""


Line = tuple[Cell, ...]


def age(seconds: float | None, words: WatchWords) -> str:
    """Return a span of time in its largest unit; None and what is endless is "never"."""
    if seconds is None or seconds > _LONG_AGO_S:
        return words.never
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def why(member: Mapping[str, Any], words: WatchWords) -> str:
    """Return why a member is in its state, and what else a person should know of it."""
    said = [told_reason(member["reason"], words)]
    for key, text in (("busy_s", words.busy), ("expect_back_s", words.back), ("hold_s", words.held)):
        if (seconds := member.get(key) or 0.0) >= 0.5:
            said.append(text.format(seconds=seconds))
    if member.get("one_way") and member["reason"] != "it does not hear us":
        said.append(words.one_way)
    flags = member["load"]["flags"] if member["load"] else 0
    said += [words.loading] if flags & _LOADING else []
    said += [words.draining] if flags & _DRAINING else []
    return "; ".join(part for part in said if part)


def load_text(load: Mapping[str, Any] | None) -> str:
    """Return running+queued, speed and processor; "-" where it is not known."""
    if not load:
        return "-"
    speed = f" {load['tokens_per_s']:.0f} t/s" if load["tokens_per_s"] else ""
    return f"{load['running']}+{load['queued']}{speed} cpu {load['cpu_percent']:.0f} %"


def rows(members: Sequence[Mapping[str, Any]], words: WatchWords, *, addresses: bool) -> list[Line]:
    """Return the table of the members, its header first, columns aligned."""
    header = [Cell(name, "bold") for name in words.header]
    table = [header, *(_row(member, words) for member in members)]
    if addresses:
        column = [Cell(words.addresses, "bold"), *(Cell(" ".join(member["addresses"]) or "-") for member in members)]
        table = [[*row[:-1], cell, row[-1]] for row, cell in zip(table, column, strict=True)]
    widths = [max(len(row[at].text) for row in table) for at in range(len(table[0]))]
    return [
        tuple(Cell(cell.text.ljust(width + 2), cell.style) for cell, width in zip(row, widths, strict=True))
        for row in table
    ]


def _row(member: Mapping[str, Any], words: WatchWords) -> list[Cell]:
    own, state = member["is_self"], member["state"]
    cells = [
        Cell(member["name"] + (" *" if own else ""), "bold"),
        Cell(words.states.get(state, state), STATE_STYLES.get(state, "")),
        Cell(age(member["since_s"], words)),
        Cell(member["zone"] or "?"),
        Cell(",".join(member["roles"]) or "-"),
        Cell("-" if own else age(member["last_heard_s"], words)),
        Cell("-" if own or not member["rtt_ms"] else f"{member['rtt_ms']:.1f} ms"),
        Cell("-" if own else f"{member['loss']:.0%}", "yellow" if member["loss"] >= 0.1 and not own else ""),
        Cell(load_text(member["load"])),
        Cell(why(member, words)),
    ]
    return [Cell(printable(cell.text).replace("\n", " "), cell.style) for cell in cells]


def happening(told: Mapping[str, Any], words: WatchWords, clock: str = "%H:%M:%S") -> Line:
    """Return one happening: when, who, from what to what, why."""
    was, state = told["was"], told["state"]
    passed = words.states.get(state, state)
    if not was:
        passed = f"{words.first_seen} -> {passed}"
    elif was != state:
        passed = f"{words.states.get(was, was)} -> {passed}"
    reason = printable(told_reason(told["reason"], words)).replace("\n", " ")
    return (
        Cell(f"{time.strftime(clock, time.localtime(told['at']))}  ", "dim"),
        Cell(f"{printable(told['name'])}  ", "bold"),
        Cell(f"{passed}  ", STATE_STYLES.get(state, "")),
        Cell(reason),
    )


def screen(
    snapshot: Mapping[str, Any], words: WatchWords, *, height: int, addresses: bool = False, trouble: str = ""
) -> list[Line]:
    """Return the whole screen, at most `height` lines: members first, then what happened last, newest at the top."""
    members = snapshot["members"]
    alive = sum(1 for member in members if member["state"] == "alive")
    at = time.strftime("%H:%M:%S", time.localtime(snapshot.get("at")))
    title = words.title.format(alive=alive, all=len(members), node=snapshot["node"], time=at)
    head: list[Line] = [(Cell(title, "bold"), Cell(f"   {words.hint}", "dim"))]
    head.append((Cell(trouble, "yellow"),))
    table = rows(members, words, addresses=addresses)
    room = max(2, height - len(head) - _LEAST_HAPPENINGS - 2)
    if len(table) > room:
        hidden = len(table) - room + 1
        table = [*table[: room - 1], (Cell(words.more.format(count=hidden), "dim"),)]
    told = [happening(one, words) for one in reversed(snapshot.get("happenings", []))]
    told = told or [(Cell(words.nothing_yet, "dim"),)]
    lines = [*head, *table, (), (Cell(words.happened, "bold"),), *told]
    return lines[:height]
