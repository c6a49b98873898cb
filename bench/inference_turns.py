"""A conversation of ten turns: the first token at turn 10 against turn 1, and against reading everything anew.

Rules
1. Questions are about as long as each other; each turn carries all that was said, as clients of /v1 do.
2. Right after turn 10 the same ten turns are asked again under another number at their head: nothing of them is cached.
"""

from __future__ import annotations

import aiohttp

from bench.harness import Context, Row
from bench.inference_client import Messages, Reply, ask, connections
from bench.inference_node import model_name, one_node

TURNS = 10
ANSWER_TOKENS, QUICK_TOKENS = 40, 16
AIM_RATIO, AIM_SAVED = 1.5, 90.0
PLACES = (
    "the sea",
    "a lamp",
    "the harbour",
    "an old boat",
    "the winter",
    "a letter",
    "the cliffs",
    "a storm",
    "gulls",
    "fog",
)


def head(number: int) -> Messages:
    """Return the beginning of a conversation, unlike that of every other number."""
    return [
        {"role": "system", "content": f"{number} is the number of this talk. Answer as a patient teller of stories."}
    ]


def question(turn: int) -> dict[str, str]:
    """Return the question of a turn, from 1."""
    return {"role": "user", "content": f"Now tell me what the lighthouse keeper thinks about {PLACES[turn - 1]}."}


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    tokens = context.pick(QUICK_TOKENS, ANSWER_TOKENS)
    first, tenth, cold, cached = [], [], [], []
    async with one_node(context.folder / "turns") as (daemon, _), connections() as session:

        async def answer(messages: Messages) -> Reply:
            return await _answer(session, daemon.url, messages, tokens)

        await answer([*head(100), question(1)])
        for number in range(context.pick(2, 8)):
            said = head(1000 + 10 * number)
            for turn in range(1, TURNS + 1):
                said.append(question(turn))
                reply = await answer(said)
                (first if turn == 1 else tenth if turn == TURNS else []).append(reply.first_token_s * 1000)
                if turn < TURNS:
                    said.append({"role": "assistant", "content": reply.text})
            cached.append(_cached_share(reply))
            cold.append((await answer(head(5000 + 10 * number) + said[1:])).first_token_s * 1000)
    saved = [100 * (1 - warm / anew) for warm, anew in zip(tenth, cold, strict=True)]
    told = f"{100 * min(cached):.0f} % of the prompt was in the cache" if min(cached) else "no cached tokens are told"
    return [
        Row(
            figure="first token at turn 10, against turn 1", unit="ms", samples=tenth, aim=AIM_RATIO, aim_on="ratio",
            reference=first, reference_name="turn 1", note=told,
        ),
        Row(
            figure="first token at turn 10: saved by the warm prefix", unit="%", samples=saved, aim=AIM_SAVED,
            aim_is=">=", note=f"read anew {min(cold):.0f}-{max(cold):.0f} ms",
        ),
    ]  # fmt: skip


async def _answer(session: aiohttp.ClientSession, url: str, messages: Messages, tokens: int) -> Reply:
    reply = await ask(session, url, model_name(), messages, tokens)
    if not reply.times:
        raise RuntimeError(f"no answer: {reply.error or 'it was empty'}")
    return reply


def _cached_share(reply: Reply) -> float:
    details = reply.usage.get("prompt_tokens_details") or {}
    return float(details.get("cached_tokens") or 0) / max(1, int(reply.usage.get("prompt_tokens") or 0))
