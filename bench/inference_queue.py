"""20 long questions at once at one node: which of them are lost, and how long a reader hears nothing while it waits.

Asked over the chat WebSocket, which tells the expected wait as a `notice` of code `waiting`.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise

from bench.client import Answer, Client
from bench.harness import Context, Row
from bench.inference_node import SLOTS, one_node

QUESTIONS = 20
ANSWER_TOKENS, QUICK_TOKENS = 256, 32
AIM_SILENCE_S = 5.0
WITHIN_S = 1800.0


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    tokens = context.pick(QUICK_TOKENS, ANSWER_TOKENS)
    slots = max(1, SLOTS // 4)  # few at once, so that most of them wait for long
    async with one_node(context.folder / "queue", slots=slots, max_tokens=tokens) as (_, client):
        asked = (_ask(client, number) for number in range(QUESTIONS))
        answers = await asyncio.gather(*asked)
    return of_answers(answers)


async def _ask(client: Client, number: int) -> Answer:
    return await client.ask(
        f"Tell story number {number} about a lighthouse keeper, as long as you can.", within_s=WITHIN_S
    )


def of_answers(answers: list[Answer]) -> list[Row]:
    """Return what was lost and the silences of those that waited."""
    lost = [answer for answer in answers if not answer.finished or answer.end.get("limit") == "deadline"]
    told = sum(len(estimates(answer)) for answer in answers)
    silences = [silence_s(answer) for answer in answers if estimates(answer)]
    why = f", the first: {lost[0].end.get('sentence') or lost[0].end.get('limit')}" if lost else ""
    longest = max((answer.first_token_s for answer in answers), default=0.0)
    heard = f"{told} estimates told to {len(silences)} that waited; the last one began after {longest:.0f} s"
    return [
        Row(
            figure="20 long questions queued: lost or cut by a deadline", unit="", samples=[float(len(lost))], aim=0,
            note=f"of {len(answers)}{why}",
        ),
        Row(
            figure="20 long questions queued: longest pause between wait estimates", unit="s",
            samples=[max(silences)] if silences else [], aim=AIM_SILENCE_S, note=heard,
            missing="no estimate was told",
        ),
    ]  # fmt: skip


def estimates(answer: Answer) -> list[float]:
    """Return when a reader was told how long it will wait."""
    return [at for at, event in answer.events if event["type"] == "notice" and event.get("code") == "waiting"]


def silence_s(answer: Answer) -> float:
    """Return the longest time without news, from asking until the first token (or the end, where none came)."""
    until = answer.first_token_s if answer.token_times_s else answer.total_s
    told = [0.0, *(at for at in estimates(answer) if at < until), until]
    return max(later - sooner for sooner, later in pairwise(told))
