"""Which share of names, dates and numbers a rolling summary keeps, over conversations that were written by hand.

Three ways, each folding one exchange after the other as the daemon does: the bundled model's summary mended by rule,
the model's alone, and the extractive fallback, where no engine can write. The model may take its time here: how well
a summary is made does not depend on how busy the PC is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

from bench.harness import Context, Row
from bench.memory_conversations import Written, read_all
from tarsd import calls
from tarsd.calls import Headers, SummarizeItem, SummarizeRequest
from tarsd.config import Cognitive as Settings
from tarsd.config import Config, Engine, Node
from tarsd.dispatch import Dispatch
from tarsd.gossip.member import Member
from tarsd.identity import init_cluster
from tarsd.memory import summaries
from tarsd.memory.store import Store
from tarsd.memory.summaries import Exchange
from tarsd.names import NodeId, TraceId
from tarsd.roles.base import Services
from tarsd.roles.cognitive import Cognitive
from tarsd.rpc import CallContext, RpcClient

AIM_PERCENT = 95.0
DEADLINE_S = 180.0
READY_S = 120.0

Fold = Callable[[Exchange], Awaitable[str]]
Write = Callable[[str], Awaitable[SummarizeItem]]


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    conversations = read_all()
    conversations = conversations[: context.pick(2, len(conversations))]
    found = [_row("the extractive fallback", conversations, await _told(conversations, _extracted))]
    async with bundled_model(context.folder / "summaries") as write:
        mended, alone = _Mended(write), _Alone(write)
        found += [
            _row("the bundled model alone", conversations, await _told(conversations, alone.fold)),
            _row(
                "the bundled model, mended by rule", conversations, await _told(conversations, mended.fold),
                aim=AIM_PERCENT, more=f"{mended.refused} of {mended.asked} written were refused",
            ),
        ]  # fmt: skip
    return found


class _Mended:
    """As the daemon folds."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.asked = self.refused = 0

    async def fold(self, exchange: Exchange) -> str:
        made = await self._write(exchange.text())
        written = made.text if made.method == "model" else ""
        self.asked += 1
        self.refused += not summaries.sound(written, summaries.sources_of(exchange))
        return summaries.fold(exchange, written)


class _Alone:
    """As a model folds that nobody holds against what was said."""

    def __init__(self, write: Write) -> None:
        self._write = write

    async def fold(self, exchange: Exchange) -> str:
        return (await self._write(exchange.text())).text


async def _extracted(exchange: Exchange) -> str:
    return summaries.fold(exchange, "")


async def _told(conversations: Sequence[Written], fold: Fold) -> list[str]:
    """Return the last summary of each conversation."""
    found = []
    for conversation in conversations:
        summary = ""
        for question, answer in conversation.exchanges:
            summary = await fold(Exchange(summary, question, answer))
        found.append(summary)
    return found


def _row(
    way: str, conversations: Sequence[Written], told: Sequence[str], *, aim: float | None = None, more: str = ""
) -> Row:
    kept = [conversation.kept(summary) for conversation, summary in zip(conversations, told, strict=True)]
    named = list(zip(conversations, kept, strict=True))
    worst, name = min((_percent([each]), conversation.name) for conversation, each in named)
    languages = dict.fromkeys(conversation.language for conversation in conversations)
    by_language = {at: _percent([each for which, each in named if which.language == at]) for at in languages}
    notes = [
        f"{sum(map(len, kept))} facts of {len(conversations)} conversations",
        *(f"{language} {percent:.0f}" for language, percent in by_language.items()),
        f"worst {worst:.0f} ({name})",
        f"{_middle(told)} words of {_middle([conversation.text() for conversation in conversations])}",
        more,
    ]
    return Row(
        figure=f"names, dates and numbers kept by {way}",
        unit="%",
        samples=[_percent(kept)],
        aim=aim,
        aim_is=">=",
        note=", ".join(note for note in notes if note),
    )


def _middle(found: Sequence[str]) -> int:
    return sorted(len(text.split()) for text in found)[len(found) // 2]


def _percent(kept: Sequence[Sequence[bool]]) -> float:
    return 100.0 * sum(map(sum, kept)) / sum(map(len, kept))


class _Nobody:
    """Membership of a node that has nobody."""

    def members(self) -> Sequence[Member]:
        return ()

    def observed_failure(self, node: NodeId) -> None:
        return

    def observed_success(self, node: NodeId) -> None:
        return


@asynccontextmanager
async def bundled_model(folder: Path) -> AsyncGenerator[Write, None]:
    """Run the role `cognitive` with the bundled model and one thread; yield what writes a summary."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    config = Config(
        node=Node(name="bench", data_dir=folder, roles=("cognitive",)),
        cognitive=Settings(engines=(Engine(kind="llama_cpp", threads=1),)),
    )
    identity = init_cluster(folder, "bench")
    async with AsyncExitStack() as stack:
        store = await Store.open(folder / "memory.db", identity.node_id)
        stack.push_async_callback(store.close)
        client = RpcClient(identity, silence_s=config.network.silence_s)
        stack.push_async_callback(client.close)
        role = Cognitive(Services(config, identity, store, Dispatch(_Nobody(), client, {}), lambda: ()))
        await role.start()
        stack.push_async_callback(role.stop)
        async with asyncio.timeout(READY_S):
            while not role.status()["ready"]:  # noqa: ASYNC110 - another process has no event for us
                await asyncio.sleep(0.2)
        yield lambda text: _written_by(role, text)


async def _written_by(role: Cognitive, text: str) -> SummarizeItem:
    served = CallContext(None, Headers(DEADLINE_S, 1, TraceId("bench")))
    request = SummarizeRequest(text, summaries.MODEL_WORDS)
    async with aclosing(role.handlers()[calls.SUMMARIZE.name](request, served)) as items:
        return [item async for item in items].pop()
