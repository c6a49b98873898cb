from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.calls import Message, Tool, ToolCall
from tarsd.engines import toolcalls
from tarsd.engines.schemas import SCHEMA_BYTES
from tarsd.engines.toolcalls import ToolCallFilter
from tarsd.errors import InvalidInput

WEATHER = Tool("weather", "tells the weather", '{"type": "object", "properties": {"city": {"type": "string"}}}')
CLOCK = Tool("clock")
CITY = '{"city": "Jaén"}'


def read(text: str, tools: list[Tool] | None = None, step: int = 1) -> tuple[str, list[tuple[str, Any]]]:
    """Feed `text` in pieces; return what is shown and what is called."""
    numbers = itertools.count()
    reading = ToolCallFilter([WEATHER, CLOCK] if tools is None else tools, lambda: f"call_{next(numbers)}")
    shown = "".join(reading.feed(text[at : at + step]) for at in range(0, len(text), step)) + reading.finish()
    return shown, [(call.name, json.loads(call.arguments)) for call in reading.calls]


CALL = ("weather", {"city": "Jaén"})


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "shown", "calls"),
    [
        (f'<tool_call>\n{{"name": "weather", "arguments": {CITY}}}\n</tool_call>', "", [CALL]),
        (f'I look.\n<tool_call>{{"name": "weather", "arguments": {CITY}}}</tool_call>', "I look.\n", [CALL]),
        (
            f'<tool_call>{{"name": "weather", "arguments": {CITY}}}</tool_call>\n'
            '<tool_call>{"name": "clock", "arguments": {}}</tool_call>',
            "",
            [CALL, ("clock", {})],
        ),
        (f'<tool_call>{{"name": "weather", "arguments": {CITY}}}', "", [CALL]),
        (f'[TOOL_CALLS] [{{"name": "weather", "arguments": {CITY}}}, {{"name": "clock"}}]', "", [CALL, ("clock", {})]),
        (f'{{"name": "weather", "parameters": {CITY}}}', "", [CALL]),
        (f'<|python_tag|>{{"name": "weather", "parameters": {CITY}}}', "", [CALL]),
        (json.dumps({"name": "weather", "arguments": CITY}), "", [CALL]),
    ],
)
def test_calls_are_found_in_the_forms_that_models_write(text: str, shown: str, calls: list[Any], step: int) -> None:
    assert read(text, step=step) == (shown, calls)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        "<tool_call>not json</tool_call> and more",
        '{"name": "nobody"}',
        '{"a": 1} is JSON',
        "1 < 2, <tool and [TOOL_CALLS",
        '[TOOL_CALLS] [{"name": "weather"}, {"name": "rm"}]',
    ],
)
def test_what_is_no_call_of_an_offered_tool_is_shown_whole(text: str) -> None:
    assert read(text) == (text, [])


def test_without_tools_nothing_is_held_back() -> None:
    reading = ToolCallFilter([], lambda: "")
    assert reading.feed("<tool_call>") == "<tool_call>"


def test_plain_text_streams_and_only_a_possible_call_waits() -> None:
    reading = ToolCallFilter([CLOCK], lambda: "")
    assert [reading.feed(text) for text in ("It is ", "noon <too", "l late")] == ["It is ", "noon ", "<tool late"]


@given(st.lists(st.sampled_from(["<tool_call>", "</tool_call>", "{", "}", "[TOOL_CALLS]", "a", '"name"', " ", "<"])))
def test_whatever_comes_no_text_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert read(text) == (text, [])


def test_a_template_without_tools_gets_them_in_the_system_message_and_its_answers_as_text() -> None:
    call = ToolCall("1", "weather", CITY)
    messages = [
        Message("system", "Be brief."),
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=[call]),
        Message("tool", "sunny", tool_call_id="1", name="weather"),
    ]
    plain = toolcalls.without_tools(messages, [WEATHER])
    assert [message.role for message in plain] == ["system", "user", "assistant", "user"]
    assert plain[0].content.startswith("Be brief.\n\n")
    assert '"name": "weather"' in plain[0].content
    assert plain[2].content == f'<tool_call>{{"name": "weather", "arguments": {CITY}}}</tool_call>'
    assert plain[3].content == "<tool_response>\nsunny\n</tool_response>"


def test_a_template_that_knows_tools_gets_calls_as_objects() -> None:
    call = ToolCall("1", "weather", CITY)
    asked, told = toolcalls.as_dicts(
        [Message("assistant", "", tool_calls=[call]), Message("tool", "sunny", tool_call_id="1", name="weather")]
    )
    assert asked["tool_calls"] == [
        {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Jaén"}}}
    ]
    assert told == {"role": "tool", "content": "sunny", "tool_call_id": "1", "name": "weather"}


def test_a_forced_call_fits_the_tool_that_must_be_called_or_any() -> None:
    one = toolcalls.schema_of_call([WEATHER, CLOCK], "clock")
    assert one["properties"]["name"] == {"const": "clock"}
    names = [form["properties"]["name"] for form in toolcalls.schema_of_call([WEATHER, CLOCK], "required")["oneOf"]]
    assert names == [{"const": "weather"}, {"const": "clock"}]
    with pytest.raises(InvalidInput, match="tool_choice: no tool is called 'none such'"):
        toolcalls.schema_of_call([WEATHER], "none such")
    with pytest.raises(InvalidInput, match=r"tools\[0\]\.parameters: not valid JSON"):
        toolcalls.schema_of_call([Tool("a", "", "{")], "required")


def test_what_the_parameters_of_two_tools_refer_to_is_kept_apart() -> None:
    tools = [
        Tool(
            name, "", json.dumps({"properties": {"at": {"$ref": "#/$defs/place"}}, "$defs": {"place": {"type": kind}}})
        )
        for name, kind in (("go", "string"), ("sit", "integer"))
    ]
    assert toolcalls.schema_of_call(tools, "required")["$defs"] == {
        "tool-0-0": {"type": "string"},
        "tool-1-0": {"type": "integer"},
    }


def test_the_parameters_of_all_tools_that_may_be_called_are_bounded_together() -> None:
    large = json.dumps({"properties": {"at": {"const": "x" * (SCHEMA_BYTES // 2)}}})
    tools = [Tool("go", "", large), Tool("sit", "", large)]
    toolcalls.schema_of_call(tools, "sit")
    with pytest.raises(InvalidInput, match=r"^tools: \d+ bytes of parameters, at most 65536"):
        toolcalls.schema_of_call(tools, "required")
