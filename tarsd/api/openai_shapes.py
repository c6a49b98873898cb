"""OpenAI's chat completions: what we take. Pure; `openai_chunks` has what we give.

Rules
1. `model` "tars" is the whole assistant; any other name is plain inference by that model.
2. For "tars" the last message is the question, the exchanges before it are the turns (`inference.turns_of`).
3. What we cannot do (images, sound, log probabilities) is refused by name, never ignored.
4. Tools, answer formats, grammars and several choices are for plain inference. The assistant has a prompt and sources
   of its own: a client's tools would be called from a text that the client never saw, and a format would have to hold
   for the passages too that stand in where no model can. So they are refused for "tars", by name.
5. Of the sampling, "tars" hears temperature, top_p, seed and stop; the other options are about models, ignored there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from tarsd.api.inference import ASSISTANT, turns_of
from tarsd.api.openai_fields import (
    NODE_MAX_TOKENS,
    Sampling,
    StreamOptions,
    Tokens,
    check_number_of_answers,
    refuse,
    sampling_of,
    several,
    stops,
)
from tarsd.api.openai_messages import Messages, begun, messages_of
from tarsd.api.openai_tools import ChoiceIn, FormatIn, Tools, choice_of, schema_of, tools_of
from tarsd.api.replies import FieldError
from tarsd.calls import ChatRequest, Message
from tarsd.host.events import Question

FOR_MODELS_ONLY = f"not for {ASSISTANT!r}, the assistant with its own prompt and sources: name a model"


class CompletionRequest(Sampling, frozen=True, kw_only=True):
    """The body of POST /v1/chat/completions."""

    messages: Messages
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    tools: Tools | None = None
    tool_choice: str | ChoiceIn | None = None
    parallel_tool_calls: bool | None = None
    response_format: FormatIn | None = None
    continue_final_message: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    audio: Any = None
    modalities: list[str] | None = None
    web_search_options: Any = None


def check(request: CompletionRequest) -> None:
    """Refuse what cannot be done (rules 3 and 4); raises `FieldError`."""
    refuse(request, "functions", "function_call", why="not supported here, use tools")
    refuse(request, "logprobs", "top_logprobs", "logit_bias", "audio", "web_search_options")
    if request.modalities not in (None, [], ["text"]):
        raise FieldError("modalities", "only text is made here", "unsupported_value")
    if request.model == ASSISTANT:
        if request.n not in (None, 1):
            raise FieldError("n", f"{ASSISTANT!r} makes 1 choice, got {request.n}", "unsupported_value")
        refuse(request, "tools", "grammar", "continue_final_message", why=FOR_MODELS_ONLY)
        if schema_of(request.response_format, "response_format"):
            raise FieldError("response_format", FOR_MODELS_ONLY, "unsupported_value")
    check_number_of_answers("n", request.n or 1)


def chat_requests(request: CompletionRequest) -> list[ChatRequest]:
    """Return the plain inference that was asked for, once for each choice; raises `FieldError`."""
    messages, partial = begun(messages_of(request.messages), request.continue_final_message)
    tools, schema = tools_of(request.tools), schema_of(request.response_format, "response_format")
    if schema and request.grammar:
        raise FieldError("grammar", "an answer can fit a grammar or a response_format, not both")
    one = ChatRequest(
        messages=messages,
        partial=partial,
        max_tokens=request.max_completion_tokens or request.max_tokens or NODE_MAX_TOKENS,
        tools=tools,
        tool_choice=choice_of(request.tool_choice, tools),
        json_schema=schema,
        **sampling_of(request),
    )
    return several(one, request.n or 1)


def question_of(request: CompletionRequest) -> Question:
    """Return the question to the assistant (rule 2); raises `FieldError`."""
    messages = messages_of(request.messages)
    max_tokens = request.max_completion_tokens or request.max_tokens or 0
    return question_from(messages, request, max_tokens, f"messages[{len(messages) - 1}].role")


def question_from(messages: Sequence[Message], request: Sampling, max_tokens: int, where: str) -> Question:
    """Return the question that the last of `messages` is; `where` names it in errors."""
    last = messages[-1]
    if last.role != "user":
        raise FieldError(where, f"the last message must be the user's, got {last.role!r}")
    return Question(
        text=last.content,
        turns=tuple(turns_of(messages[:-1])),
        max_tokens=max_tokens,
        temperature=request.temperature,
        top_p=0.95 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=tuple(stops(request)),
    )
