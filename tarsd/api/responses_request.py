"""OpenAI's responses: what POST /v1/responses takes. Pure.

Rules
1. Nothing is stored: `previous_response_id`, `conversation` and `background` are refused by name, whatever `store`
   says; a client sends the whole chat as `input`, the items that it got back included.
2. `instructions` are the system's text and go before everything else.
3. Items are messages, calls of functions (several in a row belong to one message of the assistant) and their outputs;
   any other item (images, files, reasoning of other servers) is refused by name.
4. `truncation: "auto"` leaves out the oldest turns where the context is too short; otherwise that is an error.
5. What "tars" can and cannot is as for chat completions (`openai_shapes`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tarsd.api.inference import ASSISTANT
from tarsd.api.openai_fields import NODE_MAX_TOKENS, Sampling, Tokens, refuse, sampling_of
from tarsd.api.openai_messages import MAX_MESSAGES, Part, begun, text_of
from tarsd.api.openai_shapes import FOR_MODELS_ONLY, question_from
from tarsd.api.openai_tools import ChoiceIn, FormatIn, Tools, choice_of, schema_of, tools_of
from tarsd.api.replies import FieldError
from tarsd.calls import ChatRequest, Message, ToolCall
from tarsd.host.events import Question

_TEXT_PARTS = ("input_text", "output_text", "text")
_STORED = ("previous_response_id", "conversation", "background", "prompt")


class ItemIn(msgspec.Struct, frozen=True):
    """An item of the input; which fields it has depends on its `type`."""

    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[Part] | None = None


class TextIn(msgspec.Struct, frozen=True):
    """`text`: the format of the answer."""

    format: FormatIn | None = None


class ResponseRequest(Sampling, frozen=True, kw_only=True):
    """The body of POST /v1/responses."""

    input: str | Annotated[list[ItemIn], Meta(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    tools: Tools | None = None
    tool_choice: str | ChoiceIn | None = None
    parallel_tool_calls: bool | None = None
    text: TextIn | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None
    top_logprobs: int | None = None


def check(request: ResponseRequest) -> None:
    """Refuse what cannot be done (rules 1 and 5); raises `FieldError`."""
    refuse(request, *_STORED, why="nothing is stored here: send the whole chat as input")
    refuse(request, "top_logprobs", "logit_bias")
    if request.model == ASSISTANT:
        refuse(request, "tools", "grammar", why=FOR_MODELS_ONLY)
        if format_of(request):
            raise FieldError("text.format", FOR_MODELS_ONLY, "unsupported_value")


def format_of(request: ResponseRequest) -> str:
    """Return the schema that the answer must fit, "" for plain text; raises `FieldError`."""
    return schema_of(request.text.format if request.text else None, "text.format")


def messages_of(request: ResponseRequest) -> list[Message]:
    """Return the chat as models take it (rules 2 and 3); raises `FieldError`."""
    found = [Message("system", request.instructions)] if request.instructions else []
    if isinstance(request.input, str):
        return [*found, Message("user", request.input)]
    called: dict[str, str] = {}  # by id: which function
    for index, item in enumerate(request.input):
        where = f"input[{index}]"
        match item.type:
            case "message":
                found.append(_message(item, where))
            case "function_call":
                call = _call(item, where)
                called[call.id] = call.name
                if found and found[-1].role == "assistant":
                    found[-1] = msgspec.structs.replace(found[-1], tool_calls=[*found[-1].tool_calls, call])
                else:
                    found.append(Message("assistant", "", [call]))
            case "function_call_output":
                if item.call_id not in called:
                    raise FieldError(f"{where}.call_id", f"no item before it made the call {item.call_id!r}")
                text = text_of(item.output, where, _TEXT_PARTS)
                found.append(Message("tool", text, tool_call_id=item.call_id, name=called[item.call_id]))
            case other:
                raise FieldError(f"{where}.type", f"{other!r} is not supported here", "unsupported_value")
    return found


def _message(item: ItemIn, where: str) -> Message:
    if item.role is None:
        raise FieldError(f"{where}.role", "a message has a role")
    text = text_of(item.content, where, _TEXT_PARTS)
    return Message("system" if item.role == "developer" else item.role, text)


def _call(item: ItemIn, where: str) -> ToolCall:
    for field in ("call_id", "name"):
        if not getattr(item, field):
            raise FieldError(f"{where}.{field}", "a call of a function has it")
    return ToolCall(item.call_id, item.name, item.arguments)


def chat_request(request: ResponseRequest) -> ChatRequest:
    """Return the plain inference that was asked for; raises `FieldError`."""
    messages, partial = begun(messages_of(request), None, "input[0].role")
    tools, schema = tools_of(request.tools), format_of(request)
    if schema and request.grammar:
        raise FieldError("grammar", "an answer can fit a grammar or a text.format, not both")
    return ChatRequest(
        messages=messages,
        partial=partial,
        max_tokens=request.max_output_tokens or NODE_MAX_TOKENS,
        tools=tools,
        tool_choice=choice_of(request.tool_choice, tools),
        json_schema=schema,
        overflow="drop_oldest" if request.truncation == "auto" else "refuse",
        **sampling_of(request),
    )


def question_of(request: ResponseRequest) -> Question:
    """Return the question to the assistant; raises `FieldError`."""
    return question_from(messages_of(request), request, request.max_output_tokens or 0, "input")
