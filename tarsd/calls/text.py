"""Text from models: `chat` and `summarize`."""

from __future__ import annotations

from typing import Literal

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import AnswerId, Capability, ConversationId


class ToolCall(msgspec.Struct, frozen=True):
    """What a model wants to have called: `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


class Tool(msgspec.Struct, frozen=True):
    """What a model may call: `parameters` is the text of a JSON schema of its arguments, "" = none are described."""

    name: str
    description: str = ""
    parameters: str = ""


class Message(msgspec.Struct, frozen=True):
    """One message of a chat, as models take them.

    `tool_calls`: what an assistant's message called. `tool_call_id` and `name`: which call a tool's message answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    name: str = ""


class Usage(msgspec.Struct, frozen=True):
    """What an answer cost, in the model's tokens; `cached_tokens` of the prompt were in the engine's cache."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class ChatRequest(msgspec.Struct, frozen=True):
    """Ask for an answer of the assistant to `messages`, or for what follows the bare text `prompt` (no template).

    `partial`: the beginning of the answer that a reader has already seen; the engine continues it, it is not repeated.
    `answer`: which answer it is; a newer request for the same one ends the older.
    `json_schema`: the text of a JSON schema that the answer must fit ("{}": any JSON object); `grammar`: the same in
    llama.cpp's GBNF. An engine that can hold neither raises `InvalidInput`.
    `tool_choice`: "auto", "none", "required" (some tool), else the name of the tool that must be called.
    `overflow`: what is done with messages that do not fit the context: refused, or the oldest turns are left out
    (never the system's and never the last one), which `ChatItem.dropped_messages` tells.
    `keep_alive_s`: how long a model that is loaded on demand stays after this answer; None = as the node is set.
    """

    messages: list[Message]
    partial: str = ""
    model: str = ""  # "" is the node's default
    max_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.95
    repeat_penalty: float = 1.0  # above 1 keeps small models from looping; engines that do not know it leave it out
    seed: int | None = None
    stop: list[str] = []
    conversation: ConversationId = ConversationId("")
    background: bool = False  # summaries and nightly work, which wait for people
    answer: AnswerId = AnswerId("")
    prompt: str = ""
    top_k: int = 40  # 0 = all
    min_p: float = 0.05
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    json_schema: str = ""
    grammar: str = ""
    tools: list[Tool] = []
    tool_choice: str = "auto"
    overflow: Literal["refuse", "drop_oldest"] = "refuse"
    keep_alive_s: float | None = None


class ChatItem(msgspec.Struct, frozen=True):
    """A piece of an answer: text, or (last) why it ended.

    While waiting: `queue_position` says how many are before this one (0 once it has begun), `wait_s` how long that
    will take as it looks now (0 = not known); told whenever it changes and every few seconds. `loading`: the model is
    being loaded.
    """

    text: str = ""
    finish_reason: Literal["", "stop", "length", "tool_calls"] = ""
    usage: Usage | None = None  # with the last item
    engine: str = ""  # with the first item: which engine and model generate
    model: str = ""
    queue_position: int = 0
    wait_s: float = 0.0
    loading: bool = False
    tool_calls: list[ToolCall] = []  # whole calls, with the last item
    limit: Literal["", "max_tokens", "context", "deadline"] = ""  # with finish_reason "length": which limit cut it
    dropped_messages: int = 0  # with the first item: how many were left out so that the rest fits
    stop_sequence: str = ""  # with finish_reason "stop": which of `ChatRequest.stop` ended it, where the engine knows


class SummarizeRequest(msgspec.Struct, frozen=True):
    """Ask for a summary of `text`, in the language it is written in, of at most `max_words` words."""

    text: str
    max_words: int = 80


class SummarizeItem(msgspec.Struct, frozen=True):
    """The summary and how it came about: by a `model`, or `extractive` where no engine could."""

    text: str
    method: Literal["model", "extractive"] = "model"


CHAT = CallSpec(Capability("chat"), ChatRequest, ChatItem, deadline_s=600, hedge=True)
SUMMARIZE = CallSpec(Capability("summarize"), SummarizeRequest, SummarizeItem, deadline_s=120)
