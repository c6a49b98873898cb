"""OpenAI's chat completions: what we give, whole or as chunks. Pure.

Rules
1. A choice ends with "tool_calls", "length" (which limit: `tarsd.limit`) or "stop"; passages shown in place of an
   answer are a complete reply to a client.
2. The prompt of several choices is counted once, what they wrote is summed.
3. A call of a tool comes whole, in one delta: models write it as text, and half of one is of no use to anybody.
4. `tarsd` beside OpenAI's own fields says how the answer came about (`inference.Extra`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tarsd import errors
from tarsd.api.inference import Extra, Piece, Whole, merged
from tarsd.api.openai_fields import usage_of
from tarsd.api.openai_tools import call_shape, given_back
from tarsd.api.replies import error_body
from tarsd.api.sse import DONE, event
from tarsd.calls import Usage

PATH = "/v1/chat/completions"


def finish_reason_of(found: str) -> str:
    """Return OpenAI's word for why an answer ended (rule 1)."""
    return found if found in ("length", "tool_calls") else "stop"


def summed(usages: Sequence[Usage], answers_to_a_prompt: int = 1) -> Usage:
    """Return what several answers cost together; so many in a row share a prompt (rule 2)."""
    prompts = usages[::answers_to_a_prompt]
    return Usage(
        sum(usage.prompt_tokens for usage in prompts),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in prompts),
    )


def origin_of(wholes: Sequence[Whole]) -> Extra:
    """Return how several answers came about, as one."""
    extra = Extra()
    for whole in wholes:
        extra = merged(extra, whole.extra)
    return extra


class ChatShapes:
    """Builds the objects of one completion: they share id, time and model. Also a `StreamShape`."""

    def __init__(
        self,
        identifier: str,
        created: int,
        model: str,
        *,
        choices: int = 1,
        with_usage: bool = False,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        self._common = {"id": identifier, "created": created, "model": model, "system_fingerprint": None}
        self._choices = choices
        self._with_usage = with_usage
        self._parallel = parallel_tool_calls
        self._usages: dict[int, Usage] = {}

    def whole(self, wholes: Sequence[Whole]) -> dict[str, Any]:
        """Return the response of a completion that is not streamed."""
        usage = summed([whole.usage for whole in wholes], len(wholes))
        choices = [self._choice(index, whole) for index, whole in enumerate(wholes)]
        parts = {"object": "chat.completion", "choices": choices, "usage": usage_of(usage), "tarsd": origin_of(wholes)}
        return self._common | parts

    def _choice(self, index: int, whole: Whole) -> dict[str, Any]:
        calls = given_back(whole.tool_calls, self._parallel)
        message: dict[str, Any] = {"role": "assistant", "content": whole.text, "refusal": None}
        if calls:
            message |= {"content": whole.text or None, "tool_calls": [call_shape(call) for call in calls]}
        reason = finish_reason_of(whole.finish_reason)
        return {"index": index, "message": message, "finish_reason": reason, "logprobs": None}

    def opening(self) -> bytes:
        """See `StreamShape`."""
        begun = {"role": "assistant", "content": ""}
        return b"".join(event(self._chunk(index, begun)) for index in range(self._choices))

    def piece(self, index: int, piece: Piece) -> bytes:
        """See `StreamShape`."""
        parts: list[bytes] = []
        ends = bool(piece.finish_reason)
        if piece.text or (piece.extra is not None and not ends):
            delta = {"content": piece.text} if piece.text else {}
            parts.append(event(self._chunk(index, delta, extra=None if ends else piece.extra)))
        for number, call in enumerate(given_back(piece.tool_calls, self._parallel)):
            parts.append(event(self._chunk(index, {"tool_calls": [{"index": number} | call_shape(call)]})))
        if ends:
            self._usages[index] = piece.usage
            reason = finish_reason_of(piece.finish_reason)
            parts.append(event(self._chunk(index, {}, reason, piece.extra)))
        return b"".join(parts)

    def closing(self) -> bytes:
        """See `StreamShape`."""
        if not self._with_usage:
            return DONE
        usage = summed([self._usages[index] for index in sorted(self._usages)], self._choices)
        told = {"object": "chat.completion.chunk", "choices": [], "usage": usage_of(usage)}
        return event(self._common | told) + DONE

    def failure(self, error: errors.TarsdError) -> bytes:
        """See `StreamShape`."""
        return event(error_body(error, PATH))

    def _chunk(
        self, index: int, delta: dict[str, Any], reason: str | None = None, extra: Extra | None = None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
        parts: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [choice]}
        if self._with_usage:
            parts["usage"] = None
        if extra is not None:
            parts["tarsd"] = extra
        return self._common | parts
