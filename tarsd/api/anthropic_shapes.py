"""Anthropic's Messages requests: what we take of them. Source: the types of the official `anthropic` client. Pure.

Rules
1. `model` "tars" is the whole assistant; any other name is plain inference by that model.
2. Content is text, `tool_use` and `tool_result`; images, documents, thinking and tools that Anthropic runs itself are
   refused by name. So are tools and a schema for the assistant. `metadata`, `service_tier`, `cache_control` and what
   else changes nothing here are ignored.
3. A `tool_result` must answer a `tool_use` before it; the results of a message come before its text. With
   `disable_parallel_tool_use` at most one call is given back, the first.
4. A last message of the assistant is the beginning of the answer, which is continued and not repeated.
5. What does not fit the context is refused, as Anthropic does; nothing is left out unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tarsd.api.inference import turns_of
from tarsd.api.openai_messages import MAX_MESSAGES
from tarsd.api.openai_tools import MODES
from tarsd.api.replies import FieldError
from tarsd.calls import ChatRequest, Message, Tool, ToolCall
from tarsd.host.events import Question


class Block(msgspec.Struct, frozen=True):
    """A block of content; which fields it has depends on its type."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    tool_use_id: str = ""
    content: Any = None
    is_error: bool | None = None


class InMessage(msgspec.Struct, frozen=True):
    """A message as clients send it."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class InTool(msgspec.Struct, frozen=True):
    """What a model may call."""

    name: Annotated[str, Meta(min_length=1)]
    input_schema: dict[str, Any] | None = None
    description: str = ""
    type: str | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether, and what, the model must call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    """Whether the model is to think aloud; only "disabled" is done here."""

    type: str


class OutputFormat(msgspec.Struct, frozen=True):
    """The schema that an answer must fit."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, frozen=True):
    """How the answer is to look; `effort` is ignored."""

    format: OutputFormat | None = None


class MessagesBody(msgspec.Struct, frozen=True):
    """The body of POST /v1/messages."""

    model: Annotated[str, Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)]
    messages: Annotated[list[InMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[Block] = ""
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=16)] | None = None
    tools: list[InTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    mcp_servers: list[Any] | None = None
    container: Any = None


def check(body: MessagesBody) -> None:
    """Refuse what cannot be done here (rule 2); raises `FieldError`."""
    for name in ("mcp_servers", "container"):
        if getattr(body, name):
            raise FieldError(name, "not supported here")
    if body.thinking is not None and body.thinking.type != "disabled":
        raise FieldError("thinking", f"{body.thinking.type!r} is not supported here")
    for index, tool in enumerate(body.tools or []):
        if tool.type not in (None, "custom"):
            raise FieldError(f"tools[{index}].type", f"{tool.type!r} is not supported here")
        if tool.name in MODES:
            raise FieldError(f"tools[{index}].name", f"{tool.name!r} says how tools are chosen, name it otherwise")
    choice = body.tool_choice
    if choice is not None and choice.type == "any" and not body.tools:
        raise FieldError("tool_choice.type", "a tool must be called, but no tools are given")
    if choice is not None and choice.type == "tool" and choice.name not in {tool.name for tool in body.tools or []}:
        raise FieldError("tool_choice.name", f"{choice.name!r} is none of the tools")


def chat_request(body: MessagesBody) -> ChatRequest:
    """Return the plain inference that was asked for; raises `FieldError`."""
    messages, partial = messages_of(body), ""
    if messages[-1].role == "assistant":
        where = f"messages[{len(body.messages) - 1}]"
        if messages[-1].tool_calls:
            raise FieldError(where, "a tool_use needs its tool_result after it")
        partial = messages.pop().content
        if not any(message.role != "system" for message in messages):
            raise FieldError(where, "the answer's beginning needs a message before it")
    plain = ChatRequest(messages=messages, partial=partial, model=body.model, max_tokens=body.max_tokens)
    return msgspec.structs.replace(
        plain,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=plain.top_p if body.top_p is None else body.top_p,
        top_k=plain.top_k if body.top_k is None else body.top_k,
        stop=list(body.stop_sequences or []),
        tools=tools_of(body),
        tool_choice=tool_choice_of(body.tool_choice),
        json_schema=schema_of(body),
    )


def messages_of(body: MessagesBody) -> list[Message]:
    """Return the messages as models take them, the system's first; raises `FieldError`."""
    system = body.system if isinstance(body.system, str) else _text_of(body.system, "system")
    found = [Message("system", system)] if system else []
    names: dict[str, str] = {}  # of the tools that were called, by the call's id
    for index, message in enumerate(body.messages):
        where = f"messages[{index}].content"
        if isinstance(message.content, str):
            found.append(Message(message.role, message.content))
        elif message.role == "assistant":
            found.append(_assistant_message(message.content, where, names))
        else:
            found += _user_messages(message.content, where, names)
    return found


def _assistant_message(blocks: Sequence[Block], where: str, names: dict[str, str]) -> Message:
    texts: list[str] = []
    called: list[ToolCall] = []
    for index, block in enumerate(blocks):
        if block.type == "tool_use":
            called.append(ToolCall(block.id, block.name, msgspec.json.encode(block.input or {}).decode()))
            names[block.id] = block.name
        else:
            texts.append(_text_in(block, f"{where}[{index}]"))
    return Message("assistant", "".join(texts), tool_calls=called)


def _user_messages(blocks: Sequence[Block], where: str, names: dict[str, str]) -> list[Message]:
    results: list[Message] = []
    texts: list[str] = []
    if not blocks:
        raise FieldError(where, "a message needs at least one block")
    for index, block in enumerate(blocks):
        at = f"{where}[{index}]"
        if block.type != "tool_result":
            texts.append(_text_in(block, at))
            continue
        if block.tool_use_id not in names:
            raise FieldError(f"{at}.tool_use_id", f"{block.tool_use_id!r} is no tool_use before it")
        text = _result_text(block, f"{at}.content")
        called = names[block.tool_use_id]
        results.append(Message("tool", text, tool_call_id=block.tool_use_id, name=called))
    return [*results, Message("user", "\n".join(texts))] if texts else results


def _result_text(block: Block, where: str) -> str:
    if block.content is None or isinstance(block.content, str):
        text = block.content or ""
    else:
        try:
            blocks = msgspec.convert(block.content, list[Block])
        except msgspec.ValidationError as error:
            raise FieldError(where, str(error)) from error
        text = _text_of(blocks, where)
    return f"Error: {text}" if block.is_error else text


def _text_of(blocks: Sequence[Block], where: str) -> str:
    return "\n".join(_text_in(block, f"{where}[{index}]") for index, block in enumerate(blocks))


def _text_in(block: Block, where: str) -> str:
    if block.type != "text":
        raise FieldError(f"{where}.type", f"{block.type!r} is not supported here")
    return block.text


def tools_of(body: MessagesBody) -> list[Tool]:
    """Return what the model may call."""
    return [
        Tool(
            tool.name,
            tool.description,
            "" if tool.input_schema is None else msgspec.json.encode(tool.input_schema).decode(),
        )
        for tool in body.tools or []
    ]


def parallel_of(choice: ToolChoice | None) -> bool:
    """Tell whether several calls may come back (rule 3)."""
    return choice is None or not choice.disable_parallel_tool_use


def tool_choice_of(choice: ToolChoice | None) -> str:
    """Return the choice in the words of `ChatRequest.tool_choice`."""
    if choice is None:
        return "auto"
    return choice.name if choice.type == "tool" else {"any": "required"}.get(choice.type, choice.type)


def schema_of(body: MessagesBody) -> str:
    """Return the schema that the answer must fit, "" = none."""
    wanted = body.output_config.format if body.output_config is not None else None
    return "" if wanted is None else msgspec.json.encode(wanted.schema).decode()


def question_of(body: MessagesBody) -> Question:
    """Return the question to the assistant; raises `FieldError` for what it does not do (rule 2)."""
    if body.tools or schema_of(body):
        name = "tools" if body.tools else "output_config.format"
        raise FieldError(name, "the assistant does not do this; a model by its own name does")
    messages = messages_of(body)
    last = len(body.messages) - 1
    if any(message.role == "tool" or message.tool_calls for message in messages):
        raise FieldError("messages", "the assistant calls no tools; a model by its own name does")
    if messages[-1].role != "user":
        raise FieldError(f"messages[{last}].role", f"the last message must be the user's, got {messages[-1].role!r}")
    return Question(
        text=messages[-1].content,
        turns=tuple(turns_of(messages[:-1])),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=0.95 if body.top_p is None else body.top_p,
        stop=tuple(body.stop_sequences or []),
    )
