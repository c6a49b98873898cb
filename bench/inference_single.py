"""One answer at a time: through a daemon's /v1 and through its engine alone, in turns with bare llama-cpp-python.

Rules
1. A round asks all three the same prompt, which begins with the round's number, in an order that turns.
2. What we add to the first token is the difference within a round; the speed is that after the first token.
3. What our own scheduling costs is what the worker's process needs of CPU for an answer beyond what the bare one needs
   for the same one; the daemon's part is told for each token. CPU says more than times do on a busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from bench.bare import Bare, Generation
from bench.harness import Context, Row
from bench.inference_client import Messages, ask, connections, story
from bench.inference_node import CONTEXT_TOKENS, model_file, model_name, model_worker, one_node, threads
from bench.latency_generation import cpu_s
from bench.stats import paired_ratios
from tarsd import calls, config
from tarsd.engines.base import ChatEngine
from tarsd.engines.chain import build_engines

ANSWER_TOKENS = 64
SPEED_RATIO, ADDED_MS = 0.97, 5.0
Asker = Callable[[Messages, int], Awaitable[Generation]]
Round = dict[str, Generation]


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    [engine] = build_engines([config.Engine(kind="llama_cpp", threads=threads(), context_tokens=CONTEXT_TOKENS)])
    async with (
        Bare(model_file(), threads(), CONTEXT_TOKENS) as bare,
        one_node(context.folder / "single") as (daemon, _),
        connections() as session,
    ):

        async def through_the_api(messages: Messages, max_tokens: int) -> Generation:
            processes = (model_worker(daemon).pid, daemon.pid)
            before = [cpu_s(pid) for pid in processes]
            reply = await ask(session, daemon.url, model_name(), messages, max_tokens)
            if not reply.whole:
                raise RuntimeError(f"/v1: {reply.error or 'cut'}")
            model_s, daemon_s = (cpu_s(pid) - at for pid, at in zip(processes, before, strict=True))
            return Generation([at - reply.began for at in reply.times], reply.text, model_s, daemon_s)

        await engine.start()
        try:
            askers: dict[str, Asker] = {"bare": bare.generate, "/v1": through_the_api, "engine": through(engine)}
            rounds = await play(askers, context.pick(3, 20))
        finally:
            await engine.stop()
    return [*speed_rows(rounds), *first_token_rows(rounds), *cpu_rows(rounds)]


def through(engine: ChatEngine) -> Asker:
    """Return what asks the engine itself, without the daemon."""

    async def answer(messages: Messages, max_tokens: int) -> Generation:
        asked = [calls.Message(one["role"], one["content"]) for one in messages]  # type: ignore[arg-type]
        request = calls.ChatRequest(asked, max_tokens=max_tokens, temperature=0.0)
        times: list[float] = []
        text: list[str] = []
        began = time.perf_counter()
        async with aclosing(engine.generate(request, 120.0)) as items:
            async for item in items:
                if item.text:
                    times.append(time.perf_counter() - began)
                    text.append(item.text)
        return Generation(times, "".join(text))

    return answer


async def play(askers: dict[str, Asker], count: int) -> list[Round]:
    """Run `count` rounds after a first one that warms everybody up."""
    names = list(askers)
    rounds: list[Round] = []
    for number in range(count + 1):
        turned = names[number % len(names) :] + names[: number % len(names)]
        rounds.append({name: await askers[name](story(1000 + 7 * number), ANSWER_TOKENS) for name in turned})
    return rounds[1:]


def speed_rows(rounds: list[Round]) -> list[Row]:
    """Return the speeds after the first token, against the bare one's."""
    speed = {name: [1 / each[name].token_s for each in rounds] for name in rounds[0]}
    found = []
    for name in ("/v1", "engine"):
        ratios = paired_ratios(speed[name], speed["bare"])
        same = sum(each[name].text == each["bare"].text for each in rounds)
        found.append(
            Row(
                figure=f"single answer through {'a daemon, ' if name == '/v1' else 'the '}{name}", unit="tokens/s",
                samples=speed[name], aim=SPEED_RATIO if name == "/v1" else None, aim_is=">=", aim_on="ratio",
                reference=speed["bare"], reference_name="bare",
                note=f"ratio {min(ratios):.3f}-{max(ratios):.3f}, same text in {same} of {len(rounds)}",
            )
        )  # fmt: skip
    return found


def first_token_rows(rounds: list[Round]) -> list[Row]:
    """Return what is added to the wait for the first token."""
    ms = {name: [each[name].first_token_s * 1000 for each in rounds] for name in rounds[0]}
    added = {name: [ours - bare for ours, bare in zip(ms[name], ms["bare"], strict=True)] for name in ("/v1", "engine")}
    return [
        Row(figure="first token, bare", unit="ms", samples=ms["bare"]),
        Row(figure="first token: added by a daemon, /v1", unit="ms", samples=added["/v1"], aim=ADDED_MS),
        Row(figure="first token: added by the engine alone", unit="ms", samples=added["engine"]),
    ]


def cpu_rows(rounds: list[Round]) -> list[Row]:
    """Return what an answer costs in CPU (rule 3)."""
    model = {name: [each[name].model_cpu_s * 1000 for each in rounds] for name in ("bare", "/v1")}
    daemon_us = [each["/v1"].daemons_cpu_s * 1e6 / max(1, len(each["/v1"].times_s)) for each in rounds]
    return [
        Row(
            figure="CPU of the model's process for an answer", unit="ms", samples=model["/v1"],
            reference=model["bare"], reference_name="bare",
        ),
        Row(figure="CPU of the daemon, per token", unit="us", samples=daemon_us),
    ]  # fmt: skip
