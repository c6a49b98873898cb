"""Messages of OpenAI's chats as models take them. Pure.

Rules
1. Only text is understood: an image, a file or sound in a message is refused by name.
2. A tool's message answers a call that an assistant's message before it made.
3. A last message of the assistant is the beginning of its answer and is continued, as llama.cpp's server does;
   `continue_final_message` demands it, as for vLLM, and false has a new message begun behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tarsd.api.replies import FieldError
from tarsd.calls import Message, ToolCall

MAX_MESSAGES = 512


class Part(msgspec.Struct, frozen=True):
    """A part of a message's content; only text is understood."""

    type: str
    text: str = ""


class CalledIn(msgspec.Struct, frozen=True):
    """The function of a call."""

    name: str
    arguments: str = ""


class CallIn(msgspec.Struct, frozen=True):
    """A call of a tool in an assistant's message."""

    id: str
    function: CalledIn | None = None
    type: str = "function"


class InMessage(msgspec.Struct, frozen=True):
    """A message as clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[CallIn] | None = None
    tool_call_id: str | None = None


Messages = Annotated[list[InMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]


def messages_of(messages: Sequence[InMessage]) -> list[Message]:
    """Return the messages as models take them; raises `FieldError`."""
    found: list[Message] = []
    called: dict[str, str] = {}  # by id: which tool
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        match message.role:
            case "function":
                raise FieldError(f"{where}.role", "'function' is not supported here, use 'tool'", "unsupported_value")
            case "tool":
                found.append(_answer_of_a_tool(message, called, where))
            case "assistant" if message.tool_calls:
                calls = [_call_of(call, f"{where}.tool_calls[{n}]") for n, call in enumerate(message.tool_calls)]
                called |= {call.id: call.name for call in calls}
                text = "" if message.content is None else text_of(message.content, where)
                found.append(Message("assistant", text, calls))
            case "system" | "developer":
                found.append(Message("system", text_of(message.content, where)))
            case "user" | "assistant":
                found.append(Message(message.role, text_of(message.content, where)))
    return found


def text_of(content: str | Sequence[Part] | None, where: str, kinds: Sequence[str] = ("text",)) -> str:
    """Return the text of a message's content (rule 1); `kinds` are the parts that are text. Raises `FieldError`."""
    if content is None:
        raise FieldError(f"{where}.content", "expected text, got null")
    if isinstance(content, str):
        return content
    for index, part in enumerate(content):
        if part.type not in kinds:
            raise FieldError(f"{where}.content[{index}].type", f"only text is understood, got {part.type!r}")
    return "\n".join(part.text for part in content)


def begun(
    messages: Sequence[Message], continued: bool | None, where: str = "messages[0].role"
) -> tuple[list[Message], str]:
    """Return the messages before the answer, and how the answer begins (rule 3); `where` names the first in errors.

    Raises `FieldError`.
    """
    last = messages[-1]
    if last.role == "assistant" and not last.tool_calls and continued is not False:
        if len(messages) == 1:
            raise FieldError(where, "an answer alone cannot be continued, the question is missing")
        return list(messages[:-1]), last.content
    if continued:
        raise FieldError("continue_final_message", f"the last message is the {last.role}'s, not the assistant's")
    return list(messages), ""


def _call_of(call: CallIn, where: str) -> ToolCall:
    if call.type != "function" or call.function is None:
        raise FieldError(f"{where}.type", f"only functions can be called, got {call.type!r}", "unsupported_value")
    return ToolCall(call.id, call.function.name, call.function.arguments)


def _answer_of_a_tool(message: InMessage, called: dict[str, str], where: str) -> Message:
    if not message.tool_call_id:
        raise FieldError(f"{where}.tool_call_id", "a tool's message names the call that it answers")
    if message.tool_call_id not in called:
        raise FieldError(f"{where}.tool_call_id", f"no message before it made the call {message.tool_call_id!r}")
    name = called[message.tool_call_id]
    return Message("tool", text_of(message.content, where), tool_call_id=message.tool_call_id, name=name)
