"""Pure: tools as models know them, and the calls that they write.

Rules
1. A template that knows `tools` gets them as it expects them. For another one a block in the system message lists them
   and asks for `<tool_call>{"name": …, "arguments": {…}}</tool_call>`; answers of tools are then messages of the user.
2. An answer may hold calls in the forms of Hermes and Qwen (`<tool_call>…</tool_call>`), Mistral (`[TOOL_CALLS][…]`),
   and Llama 3 (one JSON object with `name` and `parameters`, also after `<|python_tag|>`) as the whole answer.
3. What may become a call is held back while it streams; what turns out to be none is shown whole: no text is lost.
4. Only tools that were offered can be called.

Sources: the chat templates of Hermes 2 Pro, Qwen 2.5, Mistral Nemo, Llama 3.1; llama.cpp's docs/function-calling.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tarsd.calls import Message, Tool, ToolCall
from tarsd.engines import schemas
from tarsd.errors import InvalidInput

_HERMES = ("<tool_call>", "</tool_call>")
_MISTRAL = "[TOOL_CALLS]"
_PYTHON_TAG = "<|python_tag|>"
OPENERS = (_HERMES[0], _MISTRAL, _PYTHON_TAG)
_NO_PARAMETERS = '{"type": "object", "properties": {}}'

_BLOCK = """\
You can call these tools, described by JSON schemas:
{tools}
To call one, write only <tool_call>{{"name": "NAME", "arguments": {{…}}}}</tool_call>. Otherwise answer in words."""


def described(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return tools as templates and servers take them; raises `InvalidInput` for parameters that are no JSON schema."""
    found = []
    for index, tool in enumerate(tools):
        function: dict[str, Any] = {"name": tool.name, "description": tool.description}
        function["parameters"] = _object(tool.parameters or _NO_PARAMETERS, f"tools[{index}]")
        found.append({"type": "function", "function": function})
    return found


def as_dicts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages, with their tool calls, as templates that know tools take them."""
    found: list[dict[str, Any]] = []
    for message in messages:
        one: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            one["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": _loose(c.arguments)}}
                for c in message.tool_calls
            ]
        if message.role == "tool":
            one |= {"tool_call_id": message.tool_call_id, "name": message.name}
        found.append(one)
    return found


def without_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Return the same conversation for a template that knows no tools (rule 1)."""
    plain = [_plain(message) for message in messages]
    if not tools:
        return plain
    block = _BLOCK.format(tools="\n".join(json.dumps(one["function"], ensure_ascii=False) for one in described(tools)))
    if plain and plain[0].role == "system":
        return [Message("system", f"{plain[0].content}\n\n{block}"), *plain[1:]]
    return [Message("system", block), *plain]


def schema_of_call(tools: Sequence[Tool], choice: str) -> dict[str, Any]:
    """Return the JSON schema of an answer that must be a call (`tool_choice` "required" or a tool's name).

    Raises `InvalidInput` for the name of no tool, and for parameters that cannot be held.
    """
    chosen = [(at, tool) for at, tool in enumerate(tools) if choice in ("required", tool.name)]
    if not chosen:
        raise InvalidInput(f"tool_choice: no tool is called {choice!r}")
    if (size := sum(len(tool.parameters.encode()) for _, tool in chosen)) > schemas.SCHEMA_BYTES:
        raise InvalidInput(f"tools: {size} bytes of parameters, at most {schemas.SCHEMA_BYTES} are taken for a call")
    forms, targets = [], dict[str, Any]()
    for at, tool in chosen:
        field = f"tools[{at}].parameters"
        given = schemas.prepared_part(tool.parameters or _NO_PARAMETERS, field, f"tool-{at}")
        targets |= given.targets
        # An object's own rule comes first: what a schema without a type may be is no list of arguments.
        arguments = {"type": "object"} | given.schema
        properties = {"name": {"const": tool.name}, "arguments": arguments}
        forms.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    return (forms[0] if len(forms) == 1 else {"oneOf": forms}) | {"$defs": targets}


def is_forced(tools: Sequence[Tool], choice: str) -> bool:
    """Tell whether the answer must be a call."""
    return bool(tools) and choice not in ("auto", "none")


class ToolCallFilter:
    """Takes the calls out of an answer while it streams; `new_id` names each."""

    def __init__(self, tools: Sequence[Tool], new_id: Callable[[], str]) -> None:
        self._names = {tool.name for tool in tools}
        self._new_id = new_id
        self._held = ""
        self._has_shown = False
        self._follows_call = False
        self.calls: list[ToolCall] = []

    def feed(self, text: str) -> str:
        """Return what may be shown now."""
        if not self._names:
            return text
        self._held += text
        return self._note(self._take(final=False))

    def finish(self) -> str:
        """Return the rest that is no call; `calls` is complete then."""
        return self._note(self._take(final=True)) if self._names else ""

    def _note(self, shown: str) -> str:
        self._has_shown |= bool(shown.strip())
        return shown

    def _take(self, *, final: bool) -> str:
        shown = ""
        if self._follows_call:  # white space between two calls is no text
            self._held = self._held.lstrip()
            self._follows_call = not self._held
        while self._held:
            at, opener = self._first_opener()
            if opener is None:
                if self._is_bare_json():
                    return shown + (self._bare() if final else "")
                keep = 0 if final else _overlap(self._held)
                cut = len(self._held) - keep
                shown, self._held = shown + self._held[:cut], self._held[cut:]
                return shown
            shown, self._held = shown + self._held[:at], self._held[at:]
            length, found = self._call_at_start(opener, final=final)
            if length == 0:
                return shown  # the call is not complete yet
            if found is None:
                shown += self._held[:length]
            else:
                self.calls += found
            self._held = self._held[length:]
            if found:
                self._held = self._held.lstrip()
                self._follows_call = not self._held
        return shown

    def _first_opener(self) -> tuple[int, str | None]:
        found = [(at, opener) for opener in OPENERS if (at := self._held.find(opener)) >= 0]
        return min(found, default=(0, None))

    def _call_at_start(self, opener: str, *, final: bool) -> tuple[int, list[ToolCall] | None]:
        """Return (length, calls) of the call that the held text begins with; length 0 = more is needed.

        No calls (None): so many characters are plain text.
        """
        if opener == _HERMES[0]:
            end = self._held.find(_HERMES[1])
            if end >= 0:
                body = self._held[len(opener) : end]
                return end + len(_HERMES[1]), self._parsed(body)
            if not final:
                return 0, None
            return len(self._held), self._parsed(self._held[len(opener) :])
        if not final:
            return 0, None  # both others reach to the end of the answer
        return len(self._held), self._parsed(self._held[len(opener) :])

    def _is_bare_json(self) -> bool:
        return not self._has_shown and not self.calls and self._held.lstrip().startswith("{")

    def _bare(self) -> str:
        held, self._held = self._held, ""
        found = self._parsed(held)
        if found is None:
            return held
        self.calls += found
        return ""

    def _parsed(self, body: str) -> list[ToolCall] | None:
        """Return the calls in JSON `body`, None where it holds anything else (rule 4)."""
        try:
            value = msgspec.json.decode(body.strip())
        except (msgspec.DecodeError, RecursionError):
            return None
        calls = [self._one(entry) for entry in (value if isinstance(value, list) else [value])]
        return [call for call in calls if call is not None] if calls and all(calls) else None

    def _one(self, entry: Any) -> ToolCall | None:
        if not isinstance(entry, dict) or entry.get("name") not in self._names:
            return None
        arguments = entry.get("arguments", entry.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = _loose(arguments)
        if not isinstance(arguments, dict):
            return None
        return ToolCall(self._new_id(), entry["name"], json.dumps(arguments, ensure_ascii=False))


def _overlap(text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of a call."""
    for length in range(min(len(text), max(map(len, OPENERS)) - 1), 0, -1):
        if any(opener.startswith(text[-length:]) for opener in OPENERS):
            return length
    return 0


def _plain(message: Message) -> Message:
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if not message.tool_calls:
        return message
    forms = [
        json.dumps({"name": call.name, "arguments": _loose(call.arguments)}, ensure_ascii=False)
        for call in message.tool_calls
    ]
    written = "\n".join(f"<tool_call>{form}</tool_call>" for form in forms)
    return Message("assistant", f"{message.content}\n{written}".strip())


def _loose(text: str) -> Any:
    """Return the JSON object in `text`, or the text itself: what a client sends back is not ours to refuse."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"{where}.parameters: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{where}.parameters: expected a JSON schema that is an object")
    return value
