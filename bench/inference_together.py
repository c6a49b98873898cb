"""1, 4 and 8 answers at once: all tokens per second, against `llama_cpp.server` and llama.cpp's own C++ server.

Rules
1. A round asks every server the same prompts in an order that turns; its ratio is that within the round.
2. Prompts begin with numbers of their own: no cache of a prefix helps anybody.
3. The time runs from asking until the last token of the last answer, prompts included. A server that answers one after
   another is measured all the same: that is what its users get.
"""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack

from bench.harness import Context, NotAvailableError, Row
from bench.inference_client import Burst, burst, connections, story
from bench.inference_node import SLOTS, model_name, one_node, require_slots
from bench.inference_servers import Server, native_server, python_server
from bench.stats import paired_ratios

AT_ONCE = (1, 4, 8)
ANSWER_TOKENS, QUICK_TOKENS = 64, 24
NATIVE_RATIO = 0.95
Rounds = list[dict[str, Burst]]


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    missing: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(connections())
        daemon, client = await stack.enter_async_context(one_node(context.folder / "together"))
        servers = [Server("tarsd", daemon.url, model_name())]
        for name, peer in (("llama_cpp.server", python_server()), ("native", native_server(SLOTS))):
            try:
                servers.append(await stack.enter_async_context(peer))
            except NotAvailableError as error:
                missing[name] = str(error)
        await require_slots(client, "pc1", SLOTS)
        tokens = context.pick(QUICK_TOKENS, ANSWER_TOKENS)
        for server in servers:
            await burst(session, server.url, server.model, [story(9000)], 8)
        found: dict[int, Rounds] = {}
        for count in AT_ONCE:
            found[count] = []
            for number in range(context.pick(1, 5)):
                turn = number % len(servers)
                prompts = [story(1000 + 100 * count + 10 * number + one) for one in range(count)]
                found[count].append(
                    {
                        server.name: await burst(session, server.url, server.model, prompts, tokens)
                        for server in servers[turn:] + servers[:turn]
                    }
                )
    return [row for count, rounds in found.items() for row in of_rounds(count, rounds, missing)]


def of_rounds(count: int, rounds: Rounds, missing: dict[str, str]) -> list[Row]:
    """Return a row for each server that ours is compared with."""
    ours = [each["tarsd"].tokens_per_s for each in rounds]
    made = []
    for name in ("llama_cpp.server", "native"):
        figure, aim = f"{count} at once, against {name}", NATIVE_RATIO if name == "native" else 1.0
        if name in missing:
            made.append(Row(figure=figure, unit="tokens/s", samples=[], missing=missing[name]))
            continue
        theirs = [each[name].tokens_per_s for each in rounds]
        ratios = paired_ratios(ours, theirs)
        lengths = {
            side: sum(reply.tokens for each in rounds for reply in each[side].replies) for side in ("tarsd", name)
        }
        told = f"ratio {min(ratios):.2f}-{max(ratios):.2f} (median {statistics.median(ratios):.2f})"
        if lengths["tarsd"] != lengths[name]:
            told += f", not as many tokens: {lengths['tarsd']} and {lengths[name]}"
        made.append(
            Row(
                figure=figure, unit="tokens/s", samples=ours, aim=aim if count > 1 or name == "native" else None,
                aim_is=">=", aim_on="ratio", reference=theirs, reference_name=name, note=told,
            )
        )  # fmt: skip
    return made
