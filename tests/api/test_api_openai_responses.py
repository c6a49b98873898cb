"""OpenAI's responses by the official client: items in, items out, events in their order; models are scripted."""

from __future__ import annotations

import json

import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from tarsd.calls import ChatItem, Message, ToolCall, Usage
from tarsd.errors import InvalidInput, Overloaded, PeerLost
from tests.api.scripted_services import ScriptedHost

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
CLOCK = {"type": "function", "name": "clock", "description": "The time."}
FIRST = ChatItem(engine="llama_cpp", model="tiny-model")
SAID = [FIRST, ChatItem(text="It is "), ChatItem(text="42.", finish_reason="stop", usage=Usage(9, 3, 4))]
CALLS = [ToolCall("c1", "weather", '{"city":"Cuenca"}'), ToolCall("c2", "clock", "{}")]
CALLED = ChatItem(finish_reason="tool_calls", usage=Usage(20, 9), tool_calls=CALLS)
EVENT = pydantic.TypeAdapter(ResponseStreamEvent)


async def respond(client, given="How warm is it?", **options):
    return await client.responses.create(**({"model": "tiny-model", "input": given} | options))


async def events_of(client, **options):
    """The events of a stream, each one checked against the official client's own types."""
    found = [event async for event in await respond(client, stream=True, **options)]
    for event in found:
        EVENT.validate_python(event.model_dump(by_alias=True, warnings=False), strict=True)
    return found


def asked(served):
    ((_, request, _),) = served.dispatch.calls
    return request


# --- whole ------------------------------------------------------------------------------------------------------------


async def test_a_text_is_answered(serve, connect):
    served = await serve(replies={"chat": SAID})
    client = connect(served)
    raw = await client.responses.with_raw_response.create(
        model="tiny-model", input="How warm?", instructions="Be brief.", max_output_tokens=9, temperature=0.2, top_p=0.5
    )
    whole = raw.parse()
    request = asked(served)
    assert request.messages == [Message("system", "Be brief."), Message("user", "How warm?")]
    assert (request.max_tokens, request.temperature, request.top_p, request.overflow) == (9, 0.2, 0.5, "refuse")
    assert (whole.output_text, whole.status, whole.incomplete_details) == ("It is 42.", "completed", None)
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.total_tokens) == (9, 3, 12)
    assert whole.usage.input_tokens_details.cached_tokens == 4
    assert (whole.instructions, whole.max_output_tokens, whole.temperature) == ("Be brief.", 9, 0.2)
    assert whole.model_extra["store"] is False
    assert (raw.headers["x-tarsd-node"], raw.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")
    Response.model_validate(whole.model_dump(by_alias=True), strict=True)


async def test_the_assistant_answers_with_its_sources(serve, connect):
    served = await serve()
    told = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": [{"type": "input_text", "text": "two"}]},
    ]
    whole = await respond(connect(served), told, model="tars", instructions="Be brief.")
    assert whole.output_text == "Between 1.2 and 1.8 bar [1]."
    assert [source["file"] for source in whole.model_extra["tarsd"]["sources"]] == ["boiler-manual.pdf", "notas.md"]
    question = served.host.asked[0]
    assert question.text == "two"
    assert [(turn.question, turn.answer) for turn in question.turns] == [("Be brief.", "OK."), ("one", "1")]


async def test_an_answer_that_a_limit_cut_is_incomplete(serve, connect):
    cut = [FIRST, ChatItem(text="It", finish_reason="length", limit="context", usage=Usage(9, 1))]
    whole = await respond(connect(await serve(replies={"chat": cut})))
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert whole.output[0].status == "incomplete"
    assert whole.model_extra["tarsd"]["limit"] == "context"


async def test_calls_of_functions_are_items_and_go_back_with_their_outputs(serve, connect):
    served = await serve(replies={"chat": [FIRST, CALLED]})
    client = connect(served)
    whole = await respond(client, tools=[WEATHER, CLOCK], tool_choice={"type": "function", "name": "weather"})
    first = asked(served)
    assert [(tool.name, tool.description) for tool in first.tools] == [("weather", ""), ("clock", "The time.")]
    assert json.loads(first.tools[0].parameters) == PARAMETERS
    assert first.tool_choice == "weather"
    assert [(item.type, item.call_id, item.name, item.arguments) for item in whole.output] == [
        ("function_call", "c1", "weather", '{"city":"Cuenca"}'),
        ("function_call", "c2", "clock", "{}"),
    ]
    outputs = [
        {"type": "function_call_output", "call_id": "c1", "output": "21 degrees"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "12:00"}]},
    ]
    await respond(client, [{"role": "user", "content": "How warm?"}, *whole.output, *outputs], tools=[WEATHER])
    assert served.dispatch.calls[1][1].messages == [
        Message("user", "How warm?"),
        Message("assistant", "", CALLS),
        Message("tool", "21 degrees", tool_call_id="c1", name="weather"),
        Message("tool", "12:00", tool_call_id="c2", name="clock"),
    ]


async def test_what_was_said_before_a_call_is_one_message_with_it(serve, connect):
    served = await serve(replies={"chat": SAID})
    given = [
        {"role": "user", "content": "How warm?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c2", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "12:00"},
    ]
    await respond(connect(served), given)
    assert asked(served).messages[1] == Message("assistant", "I look.", CALLS[1:])


async def test_without_parallel_calls_there_is_one(serve, connect):
    client = connect(await serve(replies={"chat": [FIRST, CALLED]}))
    whole = await respond(client, tools=[WEATHER, CLOCK], parallel_tool_calls=False)
    assert [item.name for item in whole.output] == ["weather"]
    assert whole.parallel_tool_calls is False


async def test_a_schema_reaches_the_model(serve, connect):
    served = await serve(replies={"chat": SAID})
    wanted = {"type": "json_schema", "name": "place", "schema": PARAMETERS, "strict": True}
    whole = await respond(connect(served), text={"format": wanted})
    assert json.loads(asked(served).json_schema) == PARAMETERS
    assert whole.text.format.type == "json_schema"


async def test_truncation_leaves_out_the_oldest_turns(serve, connect):
    served = await serve(replies={"chat": SAID})
    await respond(connect(served), truncation="auto")
    assert asked(served).overflow == "drop_oldest"


# --- streamed ---------------------------------------------------------------------------------------------------------


async def test_a_text_is_streamed_in_openais_order(serve, connect):
    found = await events_of(connect(await serve(replies={"chat": SAID})))
    assert [event.type for event in found] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in found] == list(range(10))
    assert (found[6].text, found[8].item.content[0].text) == ("It is 42.", "It is 42.")
    whole = found[-1].response
    assert (whole.status, whole.output_text, whole.usage.total_tokens) == ("completed", "It is 42.", 12)
    assert (found[0].response.status, found[0].response.id, found[0].response.output) == ("in_progress", whole.id, [])
    assert {event.item_id for event in found[3:8]} == {whole.output[0].id}


async def test_calls_are_streamed_behind_the_text(serve, connect):
    said = [FIRST, ChatItem(text="I look."), CALLED]
    found = await events_of(connect(await serve(replies={"chat": said})), tools=[WEATHER, CLOCK])
    assert [(event.type, event.output_index) for event in found if "function_call" in event.type] == [
        ("response.function_call_arguments.delta", 1),
        ("response.function_call_arguments.done", 1),
        ("response.function_call_arguments.delta", 2),
        ("response.function_call_arguments.done", 2),
    ]
    added = [event for event in found if event.type == "response.output_item.added"]
    assert [(event.output_index, event.item.type) for event in added] == [
        (0, "message"),
        (1, "function_call"),
        (2, "function_call"),
    ]
    assert (added[1].item.arguments, added[1].item.status) == ("", "in_progress")
    assert [item.type for item in found[-1].response.output] == ["message", "function_call", "function_call"]


async def test_the_clients_own_gathering_of_a_stream_finds_all(serve, connect):
    client = connect(await serve(replies={"chat": [FIRST, ChatItem(text="I look."), CALLED]}))
    async with client.responses.stream(model="tiny-model", input="How warm?", tools=[WEATHER, CLOCK]) as stream:
        whole = await stream.get_final_response()
    assert whole.output_text == "I look."
    assert [(item.name, item.arguments) for item in whole.output[1:]] == [
        ("weather", '{"city":"Cuenca"}'),
        ("clock", "{}"),
    ]


async def test_a_cut_stream_ends_as_incomplete(serve, connect):
    cut = [FIRST, ChatItem(text="It", finish_reason="length", usage=Usage(9, 1))]
    found = await events_of(connect(await serve(replies={"chat": cut})))
    assert found[-1].type == "response.incomplete"
    assert found[-1].response.incomplete_details.reason == "max_output_tokens"
    assert found[-2].item.status == "incomplete"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_no_words_is_an_empty_text(serve, connect, stream):
    client = connect(await serve(replies={"chat": [FIRST, ChatItem(finish_reason="stop", usage=Usage(9, 0))]}))
    whole = (await events_of(client))[-1].response if stream else await respond(client)
    assert [part.text for item in whole.output for part in item.content] == [""]


async def test_calls_alone_have_no_text(serve, connect):
    found = await events_of(connect(await serve(replies={"chat": [FIRST, CALLED]})), tools=[WEATHER, CLOCK])
    assert [item.type for item in found[-1].response.output] == ["function_call", "function_call"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PeerLost("pc2 went away"), "server_error"),
        (Overloaded("9 wait"), "rate_limit_exceeded"),
        (InvalidInput("too long"), "invalid_prompt"),
    ],
)
async def test_a_stream_that_breaks_ends_as_failed_with_what_was_shown(serve, connect, error, code):
    found = await events_of(connect(await serve(replies={"chat": [*SAID[:2], error]})))
    assert found[-1].type == "response.failed"
    assert (found[-1].response.error.code, found[-1].response.error.message) == (code, str(error))
    assert found[-1].response.output_text == "It is "


async def test_a_stream_without_an_end_is_never_completed(serve, connect):
    found = await events_of(connect(await serve(replies={"chat": SAID[:2]})))
    assert found[-1].type == "response.failed"


async def test_the_assistant_streams_with_its_sources(serve, connect):
    found = await events_of(connect(await serve()), model="tars")
    assert found[-1].response.output_text == "Between 1.2 and 1.8 bar [1]."
    assert len(found[-1].response.model_extra["tarsd"]["sources"]) == 2


async def test_a_full_queue_is_a_plain_429(serve, connect):
    client = connect(await serve(replies={"chat": [Overloaded("9 are waiting", retry_after_s=3)]}))
    with pytest.raises(openai.RateLimitError):
        await respond(client, stream=True)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [CLOCK], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_object"}}, "extra_body": {"grammar": "root ::= x"}}, "grammar"),
        ({"given": []}, "input"),
        ({"given": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input[0].type"),
        ({"given": [{"type": "message", "content": "x"}]}, "input[0].role"),
        (
            {"given": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"given": [{"type": "function_call_output", "call_id": "c9", "output": "x"}]}, "input[0].call_id"),
        ({"given": [{"type": "function_call", "call_id": "c9", "arguments": "{}"}]}, "input[0].name"),
        ({"given": [{"role": "assistant", "content": "x"}], "model": "tars"}, "input"),
        ({"given": [{"role": "assistant", "content": "x"}]}, "input[0].role"),
        ({"model": "tars", "tools": [CLOCK]}, "tools"),
        ({"model": "tars", "text": {"format": {"type": "json_object"}}}, "text.format"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(serve, connect, changes, param):
    served = await serve(ScriptedHost(), replies={"chat": SAID})
    with pytest.raises(openai.BadRequestError) as caught:
        await respond(connect(served), **changes)
    assert caught.value.param == param
    assert served.dispatch.calls == []
    assert served.host.asked == []


@pytest.mark.parametrize("harmless", [{"store": True}, {"metadata": {"a": "b"}}, {"include": []}, {"user": "ana"}])
async def test_what_changes_nothing_is_not_refused(serve, connect, harmless):
    assert (await respond(connect(await serve(replies={"chat": SAID})), **harmless)).output_text == "It is 42."


async def test_an_unknown_model_is_told_as_openai_does(serve, connect):
    with pytest.raises(openai.NotFoundError) as caught:
        await respond(connect(await serve()), model="gpt-9")
    assert caught.value.code == "model_not_found"


async def test_nothing_is_stored(serve, connect):
    client = connect(await serve(replies={"chat": SAID}))
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve((await respond(client)).id)
