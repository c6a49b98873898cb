"""What forwarding a question costs the host: CPU, added time, memory; beside the barest proxy that aiohttp makes.

Host and proxy ask the same scripted server (real HTTP, no model), in turns. The host asks it through a second node,
over mutual TLS: what is counted is the host's daemon alone, less the CPU that it uses in peace for as long.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from bench.cluster import Plan
from bench.daemon import LOOPBACK, free_ports
from bench.faults import proxy, scripted
from bench.faults.stage import loopback_cluster
from bench.harness import Context, Row
from bench.stats import percentile

PLAIN_MS, STREAM_MS = 1.0, 2.0
ADDED_P50_MS, ADDED_P99_MS = 0.5, 2.0
RSS_MIB = 60.0
TOKENS = 65
PACE_MS = 2  # of the paced stream: a model's tokens come one by one, and each wakes up everyone on its way
WARM_UP = 20
IDLE_S = 5.0
ASSISTANT = "tars"


@dataclass
class _Way:
    """A way to the scripted server, with what it cost: milliseconds of wall and CPU."""

    url: str
    model: str = scripted.MODEL
    cpu: Callable[[], float] = lambda: 0.0  # seconds so far
    idle_share: float = 0.0
    plain_ms: list[float] = field(default_factory=list)
    stream_first_ms: list[float] = field(default_factory=list)
    plain_cpu_ms: list[float] = field(default_factory=list)  # per question, a value for each group
    stream_cpu_ms: list[float] = field(default_factory=list)
    paced_cpu_ms: list[float] = field(default_factory=list)


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    hosts = [Plan("host", ("orchestrator",))]
    async with loopback_cluster(hosts, ("pc2",), context.folder / "cpu") as (nodes, ports):
        upstream = f"http://{LOOPBACK}:{ports['pc2']}"
        (port,) = free_ports(1)
        async with proxy.running(port, upstream) as process, aiohttp.ClientSession() as session:
            host = _cpu_of(nodes["host"].pid)
            ways = {
                "direct": _Way(upstream),
                "proxy": _Way(f"http://{LOOPBACK}:{port}", cpu=_cpu_of(process.pid)),
                "host": _Way(nodes["host"].url, cpu=host),
                "assistant": _Way(nodes["host"].url, ASSISTANT, cpu=host),
            }
            await _measure(session, ways, groups=context.pick(4, 12), plain=50, streams=context.pick(10, 20))
            proxy_rss = psutil.Process(process.pid).memory_info().rss / (1 << 20)
        rss = nodes["host"].rss_bytes() / (1 << 20)
    memory = Row(
        figure="daemon RSS after them", unit="MiB", samples=[rss], aim=RSS_MIB,
        reference=[proxy_rss], reference_name="bare proxy",
    )  # fmt: skip
    return [*_rows(ways), memory]


def _rows(ways: dict[str, _Way]) -> list[Row]:
    direct, bare, host, assistant = ways.values()
    name = "bare proxy"
    return [
        Row(
            figure="CPU per forwarded question, plain", unit="ms", samples=host.plain_cpu_ms, aim=PLAIN_MS,
            reference=bare.plain_cpu_ms, reference_name=name,
        ),
        Row(
            figure=f"CPU per forwarded question, {TOKENS}-token stream", unit="ms", samples=host.stream_cpu_ms,
            aim=STREAM_MS, reference=bare.stream_cpu_ms, reference_name=name,
        ),
        Row(
            figure=f"CPU per forwarded question, {TOKENS}-token stream, a token each {PACE_MS} ms", unit="ms",
            samples=host.paced_cpu_ms, reference=bare.paced_cpu_ms, reference_name=name,
        ),
        Row(
            figure="CPU per question to the assistant, plain", unit="ms", samples=assistant.plain_cpu_ms,
            reference=bare.plain_cpu_ms, reference_name=name, note="prepared by the host as well",
        ),
        Row(
            figure=f"CPU per question to the assistant, {TOKENS}-token stream", unit="ms",
            samples=assistant.stream_cpu_ms, reference=bare.stream_cpu_ms, reference_name=name,
        ),
        _added("added to a plain question, p50", host.plain_ms, direct.plain_ms, bare.plain_ms, 0.5, ADDED_P50_MS),
        _added("added to a plain question, p99", host.plain_ms, direct.plain_ms, bare.plain_ms, 0.99, ADDED_P99_MS),
        _added(
            "added to a stream's first token, p50", host.stream_first_ms, direct.stream_first_ms, bare.stream_first_ms,
            0.5, ADDED_P50_MS,
        ),
    ]  # fmt: skip


def _added(figure: str, mine: list[float], direct: list[float], bare: list[float], share: float, aim: float) -> Row:
    base = percentile(direct, share)
    return Row(
        figure=figure, unit="ms", samples=[percentile(mine, share) - base], aim=aim,
        reference=[percentile(bare, share) - base], reference_name="bare proxy", note=f"of {len(mine)}, two hops",
    )  # fmt: skip


async def _measure(
    session: aiohttp.ClientSession, ways: dict[str, _Way], *, groups: int, plain: int, streams: int
) -> None:
    for way in ways.values():
        for _ in range(WARM_UP):
            await _plain(session, way)
        await _stream(session, way, 0)
    await _idle(ways["host"])
    ways["assistant"].idle_share = ways["host"].idle_share
    for _ in range(groups):
        for way in ways.values():
            cost = _Cost(way)
            for _ in range(plain):
                way.plain_ms.append(await _plain(session, way))
            way.plain_cpu_ms.append(cost.per(plain))
            cost = _Cost(way)
            for _ in range(streams):
                way.stream_first_ms.append(await _stream(session, way, 0))
            way.stream_cpu_ms.append(cost.per(streams))
            cost = _Cost(way)
            for _ in range(streams // 2):
                await _stream(session, way, PACE_MS)
            way.paced_cpu_ms.append(cost.per(streams // 2))


async def _idle(way: _Way) -> None:
    before = way.cpu()
    await asyncio.sleep(IDLE_S)
    way.idle_share = (way.cpu() - before) / IDLE_S


class _Cost:
    """The CPU of a way since this was made, without what it uses in peace."""

    def __init__(self, way: _Way) -> None:
        self._way, self._cpu, self._at = way, way.cpu(), time.monotonic()

    def per(self, count: int) -> float:
        """Return the milliseconds for each of `count`."""
        used = self._way.cpu() - self._cpu - self._way.idle_share * (time.monotonic() - self._at)
        return max(0.0, used) * 1000 / count


def _cpu_of(pid: int) -> Callable[[], float]:
    """Return what tells a process's CPU seconds so far, to the nanosecond (/proc/PID/stat counts in hundredths)."""
    file = Path(f"/proc/{pid}/schedstat")
    threads = Path(f"/proc/{pid}/task")

    def of_all_threads() -> float:
        return sum(int((one / "schedstat").read_text().split()[0]) for one in threads.iterdir()) / 1e9

    return of_all_threads if file.exists() else lambda: sum(psutil.Process(pid).cpu_times()[:2])


def _body(way: _Way, pieces: int, pause_ms: int, *, stream: bool) -> dict[str, object]:
    messages = [{"role": "user", "content": scripted.question("cpu", pieces, pause_ms)}]
    return {"model": way.model, "messages": messages, "stream": stream}


async def _plain(session: aiohttp.ClientSession, way: _Way) -> float:
    """Return the milliseconds of a question with a one-token answer."""
    began = time.perf_counter()
    async with session.post(f"{way.url}/v1/chat/completions", json=_body(way, 1, 0, stream=False)) as reply:
        text = (await reply.json())["choices"][0]["message"]["content"]
    assert text == scripted.text_of("cpu", 1), text
    return (time.perf_counter() - began) * 1000


async def _stream(session: aiohttp.ClientSession, way: _Way, pause_ms: int) -> float:
    """Return the milliseconds until the first token of a streamed answer, which is read to its end."""
    began, first_ms, text = time.perf_counter(), 0.0, ""
    body = _body(way, TOKENS, pause_ms, stream=True)
    async with session.post(f"{way.url}/v1/chat/completions", json=body) as reply:
        async for line in reply.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
                first_ms = first_ms or (text and (time.perf_counter() - began) * 1000) or 0.0
    assert text == scripted.text_of("cpu", TOKENS), text
    return first_ms
