"""RAM of layer 1 with ten full conversations: every text and relation at its bound, each time in a fresh process."""

from __future__ import annotations

import asyncio
import gc
import json
import string
import sys
import tracemalloc

import psutil

from bench.harness import Context, Row
from tarsd.calls import RememberRequest
from tarsd.memory.conversations import MAX_ANSWERS, MAX_RELATION_CHARS, MAX_RELATIONS, MAX_SUMMARY_CHARS, Conversations
from tarsd.names import AnswerId, ConversationId

CONVERSATIONS = 10
AIM_MIB = 1.0
MIB = 1 << 20


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    traced = [await _measured("traced") for _ in range(context.pick(1, 5))]
    resident = [await _measured("resident") for _ in range(context.pick(1, 5))]
    what = f"RAM of {CONVERSATIONS} full conversations"
    bounds = f"{MAX_SUMMARY_CHARS} letters of summary and 4 times {MAX_RELATIONS} relations in each"
    return [
        Row(figure=f"{what} (allocated)", unit="MiB", samples=traced, aim=AIM_MIB, note=bounds),
        Row(figure=f"{what} (RSS)", unit="MiB", samples=resident, note="with the allocator's own rounding"),
    ]


async def _measured(how: str) -> float:
    """Fill a store in a fresh process and return what it takes."""
    code = f"from bench.memory_layer1 import measure; measure({how!r})"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    told, _ = await child.communicate()
    return float(json.loads(told)) / MIB


def measure(how: str) -> None:
    """Print the bytes that full conversations take, as the interpreter counts them or as the system does."""
    text = string.ascii_letters + string.digits
    process = psutil.Process()
    gc.collect()
    if how == "traced":
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0] if how == "traced" else process.memory_info().rss
    kept = full(text)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0] if how == "traced" else process.memory_info().rss
    assert len(kept) == CONVERSATIONS
    print(json.dumps(after - before))


def full(text: str) -> Conversations:
    """Return ten conversations that nothing more fits into."""
    kept = Conversations(CONVERSATIONS)
    for number in range(CONVERSATIONS):
        for turn in range(MAX_ANSWERS):
            names = [f"{number} {turn} {place} ".ljust(MAX_RELATION_CHARS, "x") for place in range(MAX_RELATIONS)]
            told = RememberRequest(
                ConversationId(f"conversation {number}"), "", "", names, AnswerId(f"an answer of this talk {turn}"),
                person="ana", project=names[0], recalled=[f"memory {name}" for name in names], document_ids=names,
            )  # fmt: skip
            kept.remember(told, f"{number} {turn} {text}" * (MAX_SUMMARY_CHARS // len(text)), title=text * 3)
    return kept
