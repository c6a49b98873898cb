"""Near-duplicates merged, distinct memories kept: the nightly compaction over memories that were written by hand.

All of them go into one real store and through the job as it runs at night. What was written again must be one with its
memory, and with nothing else. Hard negatives: those written by hand, and each memory with another number, date, name,
or the opposite said. What was written after the rule, which was not changed for it, is reported apart.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from bench.compaction_changes import substituted
from bench.compaction_texts import Said, everything, tuned_on
from bench.harness import Context, Row
from tarsd.config import Config, Node
from tarsd.dispatch import Dispatch
from tarsd.gossip.member import Member
from tarsd.memory.bodies import MEMORY, DiaryChange, MemoryBody
from tarsd.memory.recollections import EVERYTHING, Filter
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.planning.duplicates import found, say_the_same
from tarsd.roles.base import Services
from tarsd.roles.compacting import Compacting


class Outcome(NamedTuple):
    """What the night made of the memories: which keys became one, by their first key."""

    groups: list[frozenset[str]]
    merged_into: dict[str, frozenset[str]]


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    said = everything()
    outcome = await one_night(context.folder / "compaction", said)
    known = len(tuned_on())
    tuned, held = _merged(said, outcome, range(known)), _merged(said, outcome, range(known, len(said)))
    wrong, negative = _wrong(said, outcome), sum(len(negatives(each)) for each in said)
    pairs = _wrong_pairs(said)
    both = (tuned[0] + held[0], tuned[1] + held[1])
    return [
        _share("compaction: near-duplicates merged", both),
        _share("compaction: near-duplicates merged, of those that the rule was tuned on", tuned, aim=None),
        _share("compaction: near-duplicates merged, of those that were held out", held),
        Row(
            figure="compaction: distinct memories wrongly merged", unit="", samples=[float(len(wrong))], aim=0,
            note=f"{len(said)} memories, {negative} hard negatives" + (f"; the first: {wrong[0]}" if wrong else ""),
        ),
        Row(
            figure="compaction: distinct pairs that the rule takes for one", unit="", samples=[float(pairs[0])], aim=0,
            note=f"of {pairs[1]} pairs, each text with each other one of its language",
        ),
    ]  # fmt: skip


def _share(figure: str, counted: tuple[int, int], aim: float | None = 95) -> Row:
    merged, total = counted
    note = f"{merged} of {total}"
    return Row(figure=figure, unit="%", samples=[100 * merged / total], aim=aim, aim_is=">=", note=note)


def negatives(said: Said) -> list[str]:
    """Return all that looks like a memory and is another."""
    return list(dict.fromkeys([*said.other, *substituted(said)]))


async def one_night(folder: Path, said: list[Said]) -> Outcome:
    """Write all of it down, in an order that mixes it, and let the night do its work."""
    texts = sorted(_texts(said).items(), key=lambda each: hash_of(each[0]))
    async with _store(folder) as store:
        for number, (key, (text, language)) in enumerate(texts):
            body = MemoryBody(key.removeprefix("memory/"), text, language=language, made_at=float(number + 1))
            await store.append(MEMORY, "", body)
        await Compacting(_services(store)).merge_memories(_Night())
        page = await store.memories(EVERYTHING, Filter(kinds=("memory",), history=True), limit=10_000)
    into: dict[str, set[str]] = {}
    replaced_by = {kept.key: kept.body.replaced_by for kept in page.kept}
    for kept in page.kept:
        if isinstance(kept.body, MemoryBody) and kept.body.made_by != "nightly":
            into.setdefault(_last(kept.key, replaced_by), set()).add(kept.key)
    groups = [frozenset(keys) for keys in into.values()]
    return Outcome(groups, {key: group for group in groups for key in group})


class _Alone:
    """A membership of nobody: every call finds out that there is no one to ask."""

    def members(self) -> Sequence[Member]:
        return ()

    def observed_failure(self, node: NodeId) -> None:
        return

    def observed_success(self, node: NodeId) -> None:
        return


class _Night:
    """A night that nobody interrupts."""

    job, began, is_asked_for, cluster_key, cursor = "compact_memory", datetime(2026, 5, 10, 3), True, "", ""

    async def step(self, cursor: str, said: str = "") -> None:
        self.cursor = cursor

    async def intend(self, changes: Sequence[DiaryChange]) -> None:
        return

    async def did(self) -> None:
        return


@asynccontextmanager
async def _store(folder: Path) -> AsyncGenerator[Store, None]:
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    store = await Store.open(folder / "memory.db", NodeId("a" * 32))
    try:
        yield store
    finally:
        await store.close()


def _services(store: Store) -> Services:
    alone = _Alone()
    dispatch = Dispatch(alone, cast("Any", None), {})  # no client: there is nobody to be called
    identity = cast("Any", SimpleNamespace(node_id=NodeId("a" * 32), name="bench"))
    return Services(Config(node=Node()), identity, store, dispatch, alone.members)


def _last(key: str, replaced_by: dict[str, str]) -> str:
    while replaced_by.get(key):
        key = replaced_by[key]
    return key


def _texts(said: list[Said]) -> dict[str, tuple[str, str]]:
    texts: dict[str, tuple[str, str]] = {}
    for number, each in enumerate(said):
        texts[f"memory/{number}"] = (each.text, each.language)
        for count, text in enumerate(each.again):
            texts[f"memory/{number}-again-{count}"] = (text, each.language)
        for count, text in enumerate(negatives(each)):
            texts[f"memory/{number}-other-{count}"] = (text, each.language)
    return texts


def hash_of(key: str) -> str:
    """Return what orders keys as if by chance, the same in every run."""
    return hashlib.sha256(key.encode()).hexdigest()


def _merged(said: list[Said], outcome: Outcome, numbers: range) -> tuple[int, int]:
    keys = [
        (f"memory/{number}", f"memory/{number}-again-{count}")
        for number in numbers
        for count in range(len(said[number].again))
    ]
    return sum(again in outcome.merged_into[key] for key, again in keys), len(keys)


def _wrong(said: list[Said], outcome: Outcome) -> list[str]:
    """Return a sentence for each memory that became one with another one."""
    texts = _texts(said)
    wrong: list[str] = []
    for group in outcome.groups:
        meant = {_meaning(key) for key in group}
        if len(meant) > 1 and len({texts[key][0] for key in meant}) > 1:
            wrong.append(" = ".join(texts[key][0] for key in sorted(meant)))
    return wrong


def _meaning(key: str) -> str:
    return re.sub(r"-again-\d+$", "", key)


def _wrong_pairs(said: list[Said]) -> tuple[int, int]:
    read = [
        (key, text, found(key, MemoryBody("x", text, language=language)))
        for key, (text, language) in _texts(said).items()
    ]
    wrong = total = 0
    for number, (key, text, one) in enumerate(read):
        for other_key, other_text, other in read[number + 1 :]:
            if one.body.language != other.body.language or _meaning(key) == _meaning(other_key) or text == other_text:
                continue
            total += 1
            wrong += say_the_same(one.wording, other.wording)
    return wrong, total
