"""First token and speed of plain inference through two nodes, in turns with the bare llama-cpp-python.

Rules
1. A round asks the bare model, pc1 (where the model is) and pc2 (one hop away) the same prompt, in an order that
   turns with each round.
2. A prompt begins with a number of its own, so no side finds more than the template's first words in its cache. pc1 and
   pc2 share one model: their numbers differ, but have as many tokens. pc2 and bare get the same one.
3. What tarsd adds is the difference within a round: prompts and the machine's mood cancel out.
4. On a busy machine times say little, CPU says more: what an answer costs the model's process, against the bare one's,
   and what it costs the two daemons.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import psutil

from bench.bare import Bare, Generation
from bench.cluster import Cluster
from bench.harness import Context, Row
from tarsd.engines.bundled import chat_gguf

CONTEXT_TOKENS = 8192
ADDED_MS, SPEED_RATIO = 10.0, 0.97
ANSWER_TOKENS = 40
WARM_UP_TOKENS = 4
WORDS_OF_A_PROMPT = 100  # of the long one; the short one has none of them

Asker = Callable[[list[dict[str, str]], int], Awaitable[Generation]]


def prompt(number: int, words: int) -> list[dict[str, str]]:
    """Return the messages that begin with `number` (rule 2)."""
    things = ("lamp", "river", "table", "engine", "garden", "letter", "winter", "bridge", "copper", "window")
    filler = " ".join(things[(number + step * 7) % len(things)] for step in range(words))
    return [
        {"role": "system", "content": f"{number} is the number of this request. {filler}".strip()},
        {"role": "user", "content": "Tell a long story about a lighthouse keeper and the sea."},
    ]


async def generation_rows(context: Context, nodes: Cluster, threads: int) -> list[Row]:
    """Compare bare, pc1 and pc2."""
    timeout = aiohttp.ClientTimeout(total=120)
    model = chat_gguf()
    async with Bare(model, threads, CONTEXT_TOKENS) as bare, aiohttp.ClientSession(timeout=timeout) as session:
        askers: dict[str, Asker] = {"bare": bare.generate}
        for name in ("pc1", "pc2"):
            askers[name] = _counting(_through(session, nodes[name].url, model.stem), nodes)
        for asker in askers.values():
            await asker(prompt(9999, 0), WARM_UP_TOKENS)
        short = await _rounds(askers, 0, context.pick(6, 30), within_s=9.0 if context.quick else 300.0)
        long = await _rounds(askers, WORDS_OF_A_PROMPT, context.pick(2, 10), within_s=5.0 if context.quick else 300.0)
    waits = [*first_token_rows(short, "short prompt"), *first_token_rows(long, "long prompt")]
    return [*waits, *speed_rows(short + long), *cpu_rows(short + long)]


async def _rounds(askers: dict[str, Asker], words: int, count: int, within_s: float) -> list[dict[str, Generation]]:
    """Run `count` rounds, or as many as fit into `within_s` (two at least)."""
    names, end = list(askers), time.monotonic() + within_s
    own = {"bare": 1000, "pc2": 1000, "pc1": 5000}
    rounds: list[dict[str, Generation]] = []
    while len(rounds) < count and (len(rounds) < 2 or time.monotonic() < end):
        turn = len(rounds) + words
        turned = names[turn % len(names) :] + names[: turn % len(names)]
        rounds.append({name: await askers[name](prompt(own[name] + turn * 7, words), ANSWER_TOKENS) for name in turned})
    return rounds


def first_token_rows(rounds: list[dict[str, Generation]], what: str) -> list[Row]:
    """Return the wait for the first token, and what of it is ours."""
    ms = {name: [each[name].first_token_s * 1000 for each in rounds] for name in rounds[0]}
    added = {name: [ours - bare for ours, bare in zip(ms[name], ms["bare"], strict=True)] for name in ("pc1", "pc2")}
    same = sum(each["pc2"].text == each["bare"].text for each in rounds)
    return [
        Row(
            figure=f"first token through a remote node, {what}", unit="ms", samples=ms["pc2"],
            reference=ms["bare"], reference_name="bare", note=f"same text as bare in {same} of {len(rounds)}",
        ),
        Row(figure=f"first token: added by tarsd, {what}", unit="ms", samples=added["pc2"], aim=ADDED_MS),
        Row(
            figure=f"first token: added where the model is, {what}", unit="ms", samples=added["pc1"],
            note=f"so the hop costs {statistics.median(added['pc2']) - statistics.median(added['pc1']):.1f} ms",
        ),
    ]  # fmt: skip


def speed_rows(rounds: list[dict[str, Generation]]) -> list[Row]:
    """Return the speed after the first token, and what each token costs on its way."""
    token_us = {name: [each[name].token_s * 1e6 for each in rounds] for name in rounds[0]}
    speed = {name: [1e6 / us for us in found] for name, found in token_us.items()}
    overhead = [ours - bare for ours, bare in zip(token_us["pc2"], token_us["bare"], strict=True)]
    return [
        Row(
            figure="generation through a remote node", unit="tokens/s", samples=speed["pc2"], aim=SPEED_RATIO,
            aim_is=">=", aim_on="ratio", reference=speed["bare"], reference_name="bare",
        ),
        Row(figure="added to each token", unit="us", samples=overhead),
    ]  # fmt: skip


def cpu_rows(rounds: list[dict[str, Generation]]) -> list[Row]:
    """Return what an answer costs in CPU (rule 4)."""
    model = {name: [each[name].model_cpu_s * 1000 for each in rounds] for name in rounds[0]}
    daemons = {
        name: [each[name].daemons_cpu_s * 1e6 / max(1, len(each[name].times_s)) for each in rounds]
        for name in ("pc1", "pc2")
    }
    return [
        Row(
            figure="CPU of the model's process for an answer", unit="ms", samples=model["pc2"],
            reference=model["bare"], reference_name="bare",
        ),
        Row(
            figure="CPU of both daemons, per token", unit="us", samples=daemons["pc2"],
            reference=daemons["pc1"], reference_name="without the hop",
        ),
    ]  # fmt: skip


def _counting(asker: Asker, nodes: Cluster) -> Asker:
    """Return the asker with what its answers cost the daemons and the model's worker."""

    async def ask(messages: list[dict[str, str]], max_tokens: int) -> Generation:
        worker = max(psutil.Process(nodes["pc1"].pid).children(), key=lambda child: child.memory_info().rss).pid
        model_before, before = cpu_s(worker), sum(cpu_s(daemon.pid) for daemon in nodes.daemons)
        answer = await asker(messages, max_tokens)
        answer.model_cpu_s = cpu_s(worker) - model_before
        answer.daemons_cpu_s = sum(cpu_s(daemon.pid) for daemon in nodes.daemons) - before
        return answer

    return ask


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process's living threads, to the nanosecond where psutil knows hundredths only."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text(encoding="ascii").split()[0]) for file in threads) / 1e9


def _through(session: aiohttp.ClientSession, url: str, model: str) -> Asker:
    """Return what asks the node at `url` for plain inference, as any client of its API does."""

    async def ask(messages: list[dict[str, str]], max_tokens: int) -> Generation:
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True}
        times: list[float] = []
        text: list[str] = []
        began = time.perf_counter()
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    raise RuntimeError(f"{url}: {event['error']}")
                if event["choices"] and (piece := event["choices"][0]["delta"].get("content")):
                    times.append(time.perf_counter() - began)
                    text.append(piece)
        return Generation(times, "".join(text))

    return ask
