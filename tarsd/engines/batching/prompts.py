"""A request as the tokens of its prompt: template, tools, what was said already, what is left out for want of room.

Rules
1. Text never becomes a control token (`engines.prompt`); only the template and a bare `prompt` may write those.
2. What was said already (`partial`) follows as text, whatever it says.
3. A prompt that fills the context is refused. With `overflow="drop_oldest"` the oldest turns are left out until there
   is room for `max_tokens`, or a quarter of the context: never the system's, never the last message. A turn begins with
   a message of the user.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import jinja2
import msgspec
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from tarsd.calls import ChatRequest, Message
from tarsd.engines import toolcalls
from tarsd.engines.batching.native import Native
from tarsd.engines.batching.prompts_shape import Prompt
from tarsd.engines.prompt import Defuser, plain_turns
from tarsd.errors import ContextOverflow, EngineUnavailable, InvalidInput

ENOUGH_SHARE = 4  # a quarter of the context is enough for an answer


class Prompts:
    """Makes prompts for one model."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._defuser = Defuser(native.control_strings())
        source = native.template()
        if not source:
            raise EngineUnavailable("the model has no chat template, so it cannot converse: take an instruct model")
        self.template = source
        self.knows_tools = "tools" in source
        self._format = Jinja2ChatFormatter(source, eos_token=native.eos_text(), bos_token=native.bos_text())

    def make(self, asked: ChatRequest) -> Prompt:
        """Return the prompt of a request; raises `ContextOverflow` with the numbers where it does not fit (rule 3)."""
        said = self._native.tokenize(self._defuser.text(asked.partial), special=False) if asked.partial else []
        messages, dropped = asked.messages, 0
        while True:
            prompt = self._made(asked, messages, said, dropped)
            room = self._native.context_tokens - len(prompt.tokens)
            wanted = 1 if asked.overflow == "refuse" else self._wanted(asked)
            if room >= wanted:
                return prompt
            shorter = None if asked.prompt or asked.overflow == "refuse" else without_oldest_turn(messages)
            if shorter is None and room > 0:
                return prompt
            if shorter is None:
                raise ContextOverflow(
                    f"{'prompt' if asked.prompt else 'messages'}: {len(prompt.tokens)} tokens do not fit the model's "
                    f"context of {self._native.context_tokens} tokens"
                )
            dropped += len(messages) - len(shorter)
            messages = shorter

    def _wanted(self, asked: ChatRequest) -> int:
        return min(max(1, asked.max_tokens), self._native.context_tokens // ENOUGH_SHARE)

    def _made(self, asked: ChatRequest, messages: Sequence[Message], said: list[int], dropped: int) -> Prompt:
        text = asked.prompt or self._rendered(asked, messages)
        tokens = self._native.begun(self._native.tokenize(text, special=True)) + said
        if not tokens:
            raise InvalidInput("prompt: it is empty")
        return Prompt(text + asked.partial, tokens, said, dropped)

    def _rendered(self, asked: ChatRequest, messages: Sequence[Message]) -> str:
        tools = [] if asked.tool_choice == "none" else asked.tools
        if tools and self.knows_tools:
            given: dict[str, Any] = {"tools": toolcalls.described(tools)}
            return self._render([toolcalls.as_dicts(self._harmless(messages))], **given)
        plain = self._defuser.messages(toolcalls.without_tools(messages, tools))
        return self._render([plain, plain_turns(plain)])

    def _harmless(self, messages: Sequence[Message]) -> list[Message]:
        return [msgspec.structs.replace(message, content=self._defuser.text(message.content)) for message in messages]

    def _render(self, forms: Sequence[list[dict[str, Any]]], **given: Any) -> str:
        """Return the first form that the template takes: some know no system role, some want roles to alternate."""
        refusal: Exception | None = None
        for messages in forms:
            try:
                return str(self._format(messages=messages, **given).prompt)
            except (jinja2.TemplateError, ValueError, TypeError) as error:
                # ValueError is what `raise_exception` of a template becomes: a role that it does not know.
                refusal = error
        raise InvalidInput(f"messages: the model's chat template refuses them: {refusal}") from refusal


def without_oldest_turn(messages: Sequence[Message]) -> list[Message] | None:
    """Return the messages without their oldest turn (rule 3); None where nothing may be left out."""
    first = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    if first >= len(messages) - 1:
        return None
    following = (at for at in range(first + 1, len(messages)) if messages[at].role == "user")
    return [*messages[:first], *messages[next(following, len(messages) - 1) :]]


def new_call_id() -> str:
    """Return a name for a tool's call."""
    return f"call_{secrets.token_hex(12)}"
