"""A request as the tokens of its prompt: template, tools, what was said already, what is left out for want of room.

Rules
1. Text never becomes a control token (`engines.prompt`); only the template and a bare `prompt` may write those.
2. What was said already (`partial`) follows as text, whatever it says.
3. A prompt that fills the context is refused. With `overflow="drop_oldest"` the oldest turns are left out until there
   is room for `max_tokens`, or a quarter of the context: never the system's, never the last message. A turn begins with
   a message of the user; what a tool answered stays with its call.
4. Of a text that is far too long only so much is split as shows that: megabytes would take seconds or, without spaces,
   half a minute, in which no other answer goes on.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from tarsd.calls import ChatRequest, Message
from tarsd.engines import toolcalls
from tarsd.engines.batching.native import Native
from tarsd.engines.batching.prompts_shape import Prompt
from tarsd.engines.prompt import Defuser, plain_turns
from tarsd.errors import ContextOverflow, EngineUnavailable, InvalidInput

ENOUGH_SHARE = 4  # a quarter of the context is enough for an answer
USUAL_CHARACTERS = 8  # of a token: twice what prose has


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
        said = self._tokens(self._defuser.text(asked.partial), special=False) if asked.partial else []
        prompt = self._made(asked, asked.messages, said)
        if asked.overflow == "drop_oldest" and not asked.prompt and self._room(prompt) < self._wanted(asked):
            prompt = self._shortened(asked, said) or prompt
        if self._room(prompt) < 1:
            more = ", and there are more" if self._is_long(prompt.text, USUAL_CHARACTERS) else ""
            raise ContextOverflow(
                f"{'prompt' if asked.prompt else 'messages'}: {len(prompt.tokens)} tokens do not fit the model's "
                f"context of {self._native.context_tokens} tokens{more}"
            )
        return prompt

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of `text`, or of its beginning where that alone fills the context (rule 4)."""
        for characters in (USUAL_CHARACTERS, self._native.longest_token):
            if not self._is_long(text, characters):
                break
            tokens = self._native.tokenize(text[: characters * self._native.context_tokens], special=special)
            if len(tokens) >= self._native.context_tokens:
                return tokens
        return self._native.tokenize(text, special=special)

    def _is_long(self, text: str, characters: int) -> bool:
        return len(text) > characters * self._native.context_tokens

    def _shortened(self, asked: ChatRequest, said: list[int]) -> Prompt | None:
        """Return the prompt with as few turns left out as possible, by halving; with all of them where none fits."""
        forms = list(shorter_forms(asked.messages))
        low, high = 0, len(forms) - 1
        while low < high:
            middle = (low + high) // 2
            if self._room(self._made(asked, forms[middle], said)) >= self._wanted(asked):
                high = middle
            else:
                low = middle + 1
        return self._made(asked, forms[low], said) if forms else None

    def _room(self, prompt: Prompt) -> int:
        return self._native.context_tokens - len(prompt.tokens)

    def _wanted(self, asked: ChatRequest) -> int:
        return min(max(1, asked.max_tokens), self._native.context_tokens // ENOUGH_SHARE)

    def _made(self, asked: ChatRequest, messages: Sequence[Message], said: list[int]) -> Prompt:
        text = asked.prompt or self._rendered(asked, messages)
        tokens = self._native.begun(self._tokens(text, special=True)) + said
        if not tokens:
            raise InvalidInput("prompt: it is empty")
        return Prompt(text + asked.partial, tokens, said, len(asked.messages) - len(messages))

    def _rendered(self, asked: ChatRequest, messages: Sequence[Message]) -> str:
        tools = [] if asked.tool_choice == "none" else asked.tools
        plain = self._defuser.messages(toolcalls.without_tools(messages, tools))
        forms: list[dict[str, Any]] = [{"messages": plain}, {"messages": plain_turns(plain)}]
        if self.knows_tools and (tools or any(message.tool_calls or message.role == "tool" for message in messages)):
            known = self._harmless(toolcalls.as_dicts(messages))
            forms.insert(0, {"messages": known, "tools": self._harmless(toolcalls.described(tools)) or None})
        return self._render(forms)

    def _harmless(self, value: Any) -> Any:
        """Return JSON-like `value` with every text in it defused."""
        if isinstance(value, str):
            return self._defuser.text(value)
        if isinstance(value, list):
            return [self._harmless(one) for one in value]
        if isinstance(value, dict):
            return {self._defuser.text(key): self._harmless(one) for key, one in value.items()}
        return value

    def _render(self, forms: Sequence[dict[str, Any]]) -> str:
        """Return the first form that the template takes: some know no system role, some want roles to alternate."""
        refusal: Exception | None = None
        for form in forms:
            try:
                return str(self._format(**form).prompt)
            except (jinja2.TemplateError, ValueError, TypeError) as error:
                # ValueError is what `raise_exception` of a template becomes: a role that it does not know.
                refusal = error
        raise InvalidInput(f"messages: the model's chat template refuses them: {refusal}") from refusal


def shorter_forms(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the messages without their oldest turn, without the two oldest, … (rule 3)."""
    first = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    last = len(messages) - 1
    while last > first and messages[last].role == "tool":
        last -= 1  # the call that it answers stays with it
    starts = [at for at in range(first + 1, last) if messages[at].role == "user"]
    for start in [*starts, last] if last > first else []:
        yield [*messages[:first], *messages[start:]]


def new_call_id() -> str:
    """Return a name for a tool's call."""
    return f"call_{secrets.token_hex(12)}"
