"""Ollama's chat and generate requests: what we take of them. Source: docs/api.md of ollama/ollama. Pure.

Rules
1. A request without messages (or without a prompt) asks for no answer: it loads the model, or with a `keep_alive` of 0
   unloads it.
2. What cannot be done here (`images`, `suffix`, `template`, `context`, `logprobs`) is refused by name; so are tools and
   `format` for the assistant, and as with Ollama a `system` beside a `raw` prompt, which goes to the model as it is.
   `think` is ignored: no model's thoughts are kept apart.
3. Ollama has no ids for tool calls: the calls of a message are numbered, and a tool's result answers the first call
   with its name that has none yet, else the first one. One that answers none is passed on as it is.
4. A last message of the assistant is the beginning of the answer, which is continued and not repeated.
5. Messages that do not fit the context lose their oldest turns, as with Ollama; the reply's `tarsd` tells how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tarsd.api.inference import turns_of
from tarsd.api.ollama_options import Options, keep_alive_s
from tarsd.api.openai_messages import MAX_MESSAGES
from tarsd.api.replies import FieldError
from tarsd.calls import ChatRequest, Message, Tool, ToolCall
from tarsd.host.events import Question


class InFunction(msgspec.Struct, frozen=True):
    """What an assistant's message called."""

    name: str
    arguments: dict[str, Any] | str = {}


class InToolCall(msgspec.Struct, frozen=True):
    """A call in an assistant's message; `id` from clients that keep one."""

    function: InFunction
    id: str = ""


class InMessage(msgspec.Struct, frozen=True):
    """A message as clients send it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[Any] | None = None
    tool_calls: list[InToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None  # what `tool_name` was called before
    tool_call_id: str | None = None


class InToolFunction(msgspec.Struct, frozen=True):
    """What a tool is."""

    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class InTool(msgspec.Struct, frozen=True):
    """What a model may call."""

    function: InToolFunction
    type: Literal["function"] = "function"


class Common(msgspec.Struct, frozen=True):
    """What chat and generate requests share."""

    model: Annotated[str, Meta(min_length=1)]
    stream: bool | None = None
    options: Options | None = None
    format: str | dict[str, Any] | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def chosen(self) -> Options:
        """Return the options, Ollama's own where none are given."""
        return self.options or Options()


class ChatBody(Common, frozen=True):
    """The body of POST /api/chat."""

    messages: Annotated[list[InMessage], Meta(max_length=MAX_MESSAGES)] | None = None
    tools: list[InTool] | None = None


class GenerateBody(Common, frozen=True):
    """The body of POST /api/generate."""

    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[Any] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


_REFUSED = ("suffix", "template", "context", "images", "logprobs", "top_logprobs", "width", "height", "steps")


def check(body: ChatBody | GenerateBody) -> None:
    """Refuse what cannot be done here (rule 2); raises `FieldError`."""
    for name in _REFUSED:
        if getattr(body, name, None):
            raise FieldError(name, "not supported here")
    if isinstance(body, GenerateBody) and body.raw and body.system:
        raise FieldError("system", "a raw prompt goes to the model as it is, without one")
    if isinstance(body, ChatBody):
        for index, message in enumerate(body.messages or []):
            if message.images:
                raise FieldError(f"messages[{index}].images", "images are not supported here")


def schema_of(body: Common) -> str:
    """Return the schema that `format` asks for, "" = none; raises `FieldError`."""
    if isinstance(body.format, dict):
        return msgspec.json.encode(body.format).decode()
    if body.format not in (None, "", "json"):
        raise FieldError("format", f'expected "json" or a JSON schema, got {body.format[:40]!r}')
    return "{}" if body.format == "json" else ""


def messages_of(body: ChatBody | GenerateBody) -> list[Message]:
    """Return the messages as models take them; none = the model is to be loaded or unloaded (rule 1)."""
    if isinstance(body, ChatBody):
        return _chat_messages(body.messages or [])
    if not body.prompt:
        return []
    system = [Message("system", body.system)] if body.system else []
    return [*system, Message("user", body.prompt)]


def _chat_messages(given: Sequence[InMessage]) -> list[Message]:
    found: list[Message] = []
    open_calls: list[ToolCall] = []
    for index, message in enumerate(given):
        content = message.content or ""
        if message.role == "tool":
            name = message.tool_name or message.name or ""
            answered = _answered(open_calls, message.tool_call_id or "", name)
            if answered is not None:
                open_calls.remove(answered)
            call = answered or ToolCall("", name, "")
            found.append(Message("tool", content, tool_call_id=call.id, name=call.name))
        else:
            called = [_tool_call(call, f"call_{index}_{n}") for n, call in enumerate(message.tool_calls or [])]
            open_calls = list(called) if called else open_calls
            found.append(Message(message.role, content, tool_calls=called))
    return found


def _tool_call(call: InToolCall, name_it: str) -> ToolCall:
    arguments = call.function.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return ToolCall(call.id or name_it, call.function.name, text)


def _answered(open_calls: Sequence[ToolCall], identifier: str, name: str) -> ToolCall | None:
    """Return which call a tool's result answers (rule 3)."""
    fitting = [call for call in open_calls if identifier and call.id == identifier]
    fitting += [call for call in open_calls if name and call.name == name]
    return next(iter([*fitting, *open_calls]), None)


def tools_of(body: ChatBody | GenerateBody) -> list[Tool]:
    """Return what the model may call."""
    if isinstance(body, GenerateBody):
        return []
    return [
        Tool(
            tool.function.name,
            tool.function.description or "",
            "" if tool.function.parameters is None else msgspec.json.encode(tool.function.parameters).decode(),
        )
        for tool in body.tools or []
    ]


def chat_request(body: ChatBody | GenerateBody, model: str) -> ChatRequest:
    """Return the plain inference that was asked for, by the resolved `model`."""
    messages, partial, prompt = messages_of(body), "", ""
    if isinstance(body, GenerateBody) and body.raw:
        messages, prompt = [], body.prompt or ""
    elif messages and messages[-1].role == "assistant":
        if messages[-1].tool_calls:
            raise FieldError(f"messages[{len(messages) - 1}].tool_calls", "the calls need their results after them")
        partial = messages.pop().content
    if not messages and not prompt:
        raise FieldError("messages", "the answer's beginning needs a message before it")
    options = body.chosen
    return ChatRequest(
        messages=messages,
        partial=partial,
        prompt=prompt,
        model=model,
        max_tokens=options.max_tokens,
        seed=options.chosen_seed,
        stop=options.stops,
        json_schema=schema_of(body),
        tools=tools_of(body),
        overflow="drop_oldest",
        keep_alive_s=keep_alive_s(body.keep_alive),
        **options.sampling,
    )


def warming(model: str, stays_s: float | None) -> ChatRequest:
    """Return what loads `model`, or lets it go: the shortest answer there is, and how long the model stays after it."""
    return ChatRequest(messages=[Message("user", "Hi")], model=model, max_tokens=1, keep_alive_s=stays_s)


def question_of(body: ChatBody | GenerateBody) -> Question:
    """Return the question to the assistant; raises `FieldError` for what it does not do (rule 2)."""
    for name in ("tools", "format", "raw"):
        if getattr(body, name, None):
            raise FieldError(name, "the assistant does not do this; a model by its own name does")
    messages = messages_of(body)
    for index, message in enumerate(messages):
        if message.role == "tool" or message.tool_calls or (index == len(messages) - 1 and message.role != "user"):
            raise FieldError(f"messages[{index}].role", "the assistant takes text, and a last message of the user")
    options = body.chosen
    return Question(
        text=messages[-1].content,
        turns=tuple(turns_of(messages[:-1])),
        max_tokens=options.asked_tokens,
        temperature=options.temperature,
        top_p=options.sampling["top_p"],
        seed=options.chosen_seed,
        stop=tuple(options.stops),
    )
