"""Tools and answer formats as OpenAI's clients send them, and calls of tools as they want them back. Pure, but for
the ids of calls.

Rules
1. Only functions are tools here; what OpenAI runs on its own servers (web search, code) is refused by name.
2. A chat completion has `{"type": "function", "function": {…}}`, a response the same without the inner object. Both
   forms are taken in both places.
3. A tool that must be called has to be among those given.
4. Without `parallel_tool_calls` at most one call is given back, the first.
5. `json_object` is any JSON object, `json_schema` what fits the schema; `strict` or not, the engine holds it exactly.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tarsd.api.replies import FieldError
from tarsd.calls import Tool, ToolCall

MAX_TOOLS = 128
MAX_SCHEMA_CHARACTERS = 64 * 1024  # a grammar is built from it, at a cost that grows faster than it does
ANY_OBJECT = "{}"
MODES = ("auto", "none", "required")

ToolName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.\-]+\Z")]


class FunctionIn(msgspec.Struct, frozen=True):
    """A function that a model may call."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolIn(msgspec.Struct, frozen=True):
    """A tool in either form (rule 2)."""

    type: str = "function"
    function: FunctionIn | None = None
    name: ToolName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class NamedIn(msgspec.Struct, frozen=True):
    """The function of a `tool_choice`."""

    name: str


class ChoiceIn(msgspec.Struct, frozen=True):
    """A `tool_choice` that names a function, in either form."""

    type: str
    function: NamedIn | None = None
    name: str | None = None


class SchemaIn(msgspec.Struct, frozen=True):
    """The schema of a `response_format`."""

    name: str = ""
    schema: dict[str, Any] | None = None


class FormatIn(msgspec.Struct, frozen=True):
    """The format of an answer: of a chat completion (`json_schema`), or of a response (`schema`)."""

    type: str
    json_schema: SchemaIn | None = None
    name: str = ""
    schema: dict[str, Any] | None = None


Tools = Annotated[list[ToolIn], Meta(max_length=MAX_TOOLS)]


def tools_of(tools: Sequence[ToolIn] | None) -> list[Tool]:
    """Return the tools as models take them; raises `FieldError`."""
    return [_tool_of(tool, f"tools[{index}]") for index, tool in enumerate(tools or [])]


def _tool_of(tool: ToolIn, where: str) -> Tool:
    if tool.type != "function":
        raise FieldError(f"{where}.type", f"only functions can be called, got {tool.type!r}", "unsupported_value")
    function = tool.function or (FunctionIn(tool.name, tool.description, tool.parameters) if tool.name else None)
    if function is None:
        raise FieldError(f"{where}.function", "the function is missing")
    if function.name in MODES:
        raise FieldError(f"{where}.function.name", f"{function.name!r} is a word of tool_choice, name it otherwise")
    parameters = "" if function.parameters is None else _text(function.parameters, f"{where}.function.parameters")
    return Tool(function.name, function.description or "", parameters)


def choice_of(choice: str | ChoiceIn | None, tools: Sequence[Tool]) -> str:
    """Return the `tool_choice` of a `ChatRequest`; raises `FieldError` (rule 3)."""
    if choice is None or (choice in ("auto", "none") and not tools):
        return "auto"
    if isinstance(choice, str):
        if choice not in MODES:
            raise FieldError("tool_choice", f"expected auto, none, required or a function, got {choice!r}")
        if not tools:
            raise FieldError("tool_choice", "a tool must be called, but no tools are given")
        return choice
    if choice.type != "function":
        raise FieldError("tool_choice.type", f"only a function can be chosen, got {choice.type!r}", "unsupported_value")
    name = choice.function.name if choice.function else choice.name
    if name not in [tool.name for tool in tools]:
        raise FieldError("tool_choice", f"{name!r} is not among the tools that are given")
    return name or ""


def schema_of(wanted: FormatIn | None, where: str) -> str:
    """Return the `json_schema` of a `ChatRequest`, "" for plain text; raises `FieldError` (rule 5)."""
    if wanted is None or wanted.type == "text":
        return ""
    if wanted.type == "json_object":
        return ANY_OBJECT
    if wanted.type != "json_schema":
        raise FieldError(f"{where}.type", f"expected text, json_object or json_schema, got {wanted.type!r}")
    schema = wanted.schema if wanted.json_schema is None else wanted.json_schema.schema
    if schema is None:
        raise FieldError(f"{where}.json_schema.schema", "the schema is missing")
    return _text(schema, f"{where}.json_schema.schema")


def given_back(found: Sequence[ToolCall], parallel: bool | None) -> list[ToolCall]:
    """Return the calls that a client gets, each with an id (rule 4)."""
    most = 1 if parallel is False else len(found)
    return [call if call.id else msgspec.structs.replace(call, id=new_call_id()) for call in found[:most]]


def new_call_id() -> str:
    """Return an id for a call of a tool."""
    return f"call_{secrets.token_hex(12)}"


def call_shape(call: ToolCall) -> dict[str, Any]:
    """Return a call as a chat completion tells it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _text(schema: dict[str, Any], where: str) -> str:
    text = msgspec.json.encode(schema).decode()
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise FieldError(where, f"{len(text)} characters, at most {MAX_SCHEMA_CHARACTERS} are taken")
    return text
