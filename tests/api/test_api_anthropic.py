"""The official `anthropic` client, unchanged, against a real server; host and dispatch are scripted."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import anthropic
import pytest

from tarsd.calls import ChatItem, Message, ToolCall, Usage
from tarsd.config import Api
from tarsd.errors import Overloaded, Unavailable
from tarsd.host import events
from tests.api.scripted_services import HANG, ROUTE, ScriptedHost, answer

BEGUN = ChatItem(engine="llama_cpp", model="tiny-model")
CHAT = [
    ChatItem(queue_position=2, wait_s=3.5),
    ChatItem(loading=True),
    BEGUN,
    ChatItem(text="Hello"),
    ChatItem(text=" you", finish_reason="stop", usage=Usage(50, 2, 30)),
]
CALLED = [
    BEGUN,
    ChatItem(text="Let me see."),
    ChatItem(
        finish_reason="tool_calls",
        usage=Usage(9, 4),
        tool_calls=[ToolCall("c1", "weather", '{"city":"Lima"}'), ToolCall("c2", "clock", "")],
    ),
]
ASK = [{"role": "user", "content": "Which pressure?"}]
SAMPLING = {"temperature": 0.2, "top_p": 0.5, "top_k": 7}  # this client has no arguments of its own for them
WEATHER = {
    "name": "weather",
    "description": "of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}
CALL = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Lima"}}],
}


@pytest.fixture
async def connect():
    clients = []

    def make(served, **changes) -> anthropic.AsyncAnthropic:
        client = anthropic.AsyncAnthropic(**({"base_url": served.url, "api_key": "any", "max_retries": 0} | changes))
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


def ask(**changes):
    return {"model": "tiny-model", "max_tokens": 9, "messages": ASK} | changes


def asked(served):
    """The one chat call that was made."""
    ((name, request, _),) = served.dispatch.calls
    assert name == "chat"
    return request


async def events_of(served, body):
    """The events of a stream as (name, data), as they come over the wire."""
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/v1/messages", json=body) as response:
        assert response.content_type == "text/event-stream"
        blocks = (await response.text()).strip().split("\n\n")
    pairs = [block.split("\n") for block in blocks]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


# --- whole messages ---------------------------------------------------------------------------------------------------


async def test_a_model_by_its_own_name_is_plain_inference(serve, connect):
    served = await serve(replies={"chat": CHAT})
    raw = await connect(served).messages.with_raw_response.create(
        **ask(system="Be brief.", stop_sequences=["."], metadata={"user_id": "u"}, extra_body=SAMPLING)
    )
    message = await raw.parse()
    assert [(block.type, block.text) for block in message.content] == [("text", "Hello you")]
    assert (message.role, message.model, message.stop_reason, message.stop_sequence) == (
        "assistant",
        "tiny-model",
        "end_turn",
        None,
    )
    assert (raw.headers["x-tarsd-node"], raw.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")
    request = asked(served)
    assert request.messages == [Message("system", "Be brief."), Message("user", "Which pressure?")]
    assert (request.max_tokens, request.temperature, request.top_p, request.top_k, request.stop) == (
        9,
        0.2,
        0.5,
        7,
        ["."],
    )
    assert (request.overflow, served.host.asked) == ("refuse", [])


async def test_tokens_from_the_cache_are_counted_apart(serve, connect):
    usage = (await connect(await serve(replies={"chat": CHAT})).messages.create(**ask())).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (20, 30, 2)


@pytest.mark.parametrize(
    ("last", "reason", "sequence"),
    [
        (ChatItem(finish_reason="stop"), "end_turn", None),
        (ChatItem(finish_reason="stop", stop_sequence="END"), "stop_sequence", "END"),
        (ChatItem(finish_reason="length", limit="max_tokens"), "max_tokens", None),
        (ChatItem(finish_reason="length"), "max_tokens", None),
        (ChatItem(finish_reason="length", limit="context"), "model_context_window_exceeded", None),
        (ChatItem(finish_reason="length", limit="deadline"), "pause_turn", None),
        (ChatItem(finish_reason="tool_calls", tool_calls=[ToolCall("c", "clock", "{}")]), "tool_use", None),
    ],
)
async def test_why_an_answer_ended_is_told_whole_and_streamed(serve, connect, last, reason, sequence):
    client = connect(await serve(replies={"chat": [BEGUN, ChatItem(text="x"), last]}))
    message = await client.messages.create(**ask(stop_sequences=["END", "STOP"]))
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)
    async with client.messages.stream(**ask()) as stream:
        message = await stream.get_final_message()
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)


async def test_content_in_blocks_is_text_for_the_model(serve, connect):
    served = await serve(replies={"chat": CHAT})
    cached = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    blocks = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    await connect(served).messages.create(**ask(system=[cached], messages=[{"role": "user", "content": blocks}]))
    assert asked(served).messages == [Message("system", "Be brief."), Message("user", "one\ntwo")]


async def test_a_last_message_of_the_assistant_is_continued(serve, connect):
    served = await serve(replies={"chat": CHAT})
    await connect(served).messages.create(**ask(messages=[*ASK, {"role": "assistant", "content": "The answer is ("}]))
    assert (asked(served).partial, asked(served).messages) == ("The answer is (", [Message("user", "Which pressure?")])


async def test_an_answer_cut_short_is_no_answer(serve, connect):
    with pytest.raises(anthropic.InternalServerError, match="without its last part"):
        await connect(await serve(replies={"chat": CHAT[:4]})).messages.create(**ask())


# --- tools and schemas ------------------------------------------------------------------------------------------------


async def test_tools_are_offered_and_their_calls_come_back(serve, connect):
    served = await serve(replies={"chat": CALLED})
    message = await connect(served).messages.create(**ask(tools=[WEATHER]))
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    called = message.content[1:]
    assert [(b.id, b.name, b.input) for b in called] == [("c1", "weather", {"city": "Lima"}), ("c2", "clock", {})]
    (tool,) = asked(served).tools
    assert (tool.name, tool.description) == ("weather", "of a city")
    assert json.loads(tool.parameters) == WEATHER["input_schema"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, "weather"),
    ],
)
async def test_which_tool_must_be_called(serve, connect, choice, expected):
    served = await serve(replies={"chat": CALLED})
    changes = {"tool_choice": choice} if choice else {}
    await connect(served).messages.create(**ask(tools=[WEATHER], **changes))
    assert asked(served).tool_choice == expected


@pytest.mark.parametrize("kind", ["auto", "any"])
async def test_without_parallel_use_there_is_one_call(serve, connect, kind):
    client = connect(await serve(replies={"chat": CALLED}))
    options = ask(tools=[WEATHER], tool_choice={"type": kind, "disable_parallel_tool_use": True})
    async with client.messages.stream(**options) as stream:
        messages = [await client.messages.create(**options), await stream.get_final_message()]
    for message in messages:
        assert [block.name for block in message.content if block.type == "tool_use"] == ["weather"]


async def test_calls_that_the_model_gave_no_ids_get_some(serve, connect):
    nameless = [ToolCall("", "weather", "{}"), ToolCall("", "weather", "{}")]
    client = connect(await serve(replies={"chat": [BEGUN, ChatItem(finish_reason="tool_calls", tool_calls=nameless)]}))
    async with client.messages.stream(**ask(tools=[WEATHER])) as stream:
        messages = [await client.messages.create(**ask(tools=[WEATHER])), await stream.get_final_message()]
    for message in messages:
        assert len({block.id for block in message.content} - {""}) == 2


async def test_results_go_back_to_the_calls_they_answer(serve, connect):
    served = await serve(replies={"chat": CHAT})
    results = [
        {"type": "text", "text": "and now?"},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]},
        {"type": "tool_result", "tool_use_id": "t1", "content": "no such city", "is_error": True},
    ]
    await connect(served).messages.create(**ask(messages=[*ASK, CALL, {"role": "user", "content": results}]))
    call = ToolCall("t1", "weather", '{"city":"Lima"}')
    assert asked(served).messages[1:] == [
        Message("assistant", "", tool_calls=[call]),
        Message("tool", "rain", tool_call_id="t1", name="weather"),
        Message("tool", "Error: no such city", tool_call_id="t1", name="weather"),
        Message("user", "and now?"),
    ]


async def test_a_schema_is_what_the_answer_must_fit(serve, connect):
    served = await serve(replies={"chat": CHAT})
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    await connect(served).messages.create(**ask(output_config=wanted))
    assert json.loads(asked(served).json_schema) == schema


async def test_calls_with_arguments_that_are_no_object_are_an_error(serve, connect):
    broken = [ChatItem(finish_reason="tool_calls", tool_calls=[ToolCall("c", "weather", "[1")])]
    client = connect(await serve(replies={"chat": broken}))
    with pytest.raises(anthropic.InternalServerError, match="no JSON object"):
        await client.messages.create(**ask(tools=[WEATHER]))
    with pytest.raises(anthropic.APIStatusError, match="no JSON object"):
        async with client.messages.stream(**ask(tools=[WEATHER])) as stream:
            await stream.get_final_message()


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_stream_has_its_events_in_their_order(serve):
    told = await events_of(await serve(replies={"chat": CALLED}), ask(stream=True))
    assert [name for name, _ in told] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert all(data["type"] == name for name, data in told)
    assert [data["index"] for name, data in told if name == "content_block_start"] == [0, 1, 2]
    assert told[-2][1]["tarsd"]["generated_by"] == "pc2"


async def test_the_client_reads_a_stream_into_the_same_message(serve, connect):
    client = connect(await serve(replies={"chat": CHAT}))
    async with client.messages.stream(**ask()) as stream:
        texts = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert texts == ["Hello", " you"]
    assert (message.content[0].text, message.stop_reason) == ("Hello you", "end_turn")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (20, 30, 2)
    client = connect(await serve(replies={"chat": CALLED}))
    async with client.messages.stream(**ask(tools=[WEATHER])) as stream:
        message = await stream.get_final_message()
    assert [(b.name, b.input) for b in message.content[1:]] == [("weather", {"city": "Lima"}), ("clock", {})]


async def test_while_it_waits_a_stream_pings_and_says_where_it_stands(serve):
    told = await events_of(await serve(replies={"chat": CHAT}), ask(stream=True))
    pings = [data for name, data in told if name == "ping"]
    assert {"type": "ping", "queue_position": 2, "wait_s": 3.5, "loading": False} in pings
    assert {"type": "ping", "queue_position": 0, "wait_s": 0.0, "loading": True} in pings


async def test_a_silent_stream_pings(serve, monkeypatch):
    monkeypatch.setattr("tarsd.api.replies.batches.__defaults__", (0.02,))
    served = await serve(replies={"chat": [BEGUN, HANG]})
    pings = 0
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/v1/messages", json=ask(stream=True)) as response,
    ):
        while pings < 4:
            pings += (await response.content.readline()) == b"event: ping\n"


async def test_a_stream_that_breaks_ends_in_an_error_and_never_as_a_whole_one(serve, connect):
    for items in ([*CHAT[2:4], Unavailable("pc2 went away")], CHAT[2:4]):
        served = await serve(replies={"chat": items})
        shown = []
        with pytest.raises(anthropic.APIStatusError, match=r"went away|without its last part"):
            await _collect(connect(served), shown)
        assert shown == ["Hello"]
        told = await events_of(served, ask(stream=True))
        assert told[-1][0] == "error"
        assert "message_stop" not in [name for name, _ in told]


async def _collect(client, shown):
    async with client.messages.stream(**ask()) as stream:
        async for text in stream.text_stream:
            shown.append(text)


async def test_a_client_that_leaves_cancels_the_answer(serve, connect):
    host = ScriptedHost(answer("a", "b"), hang_after=3)
    client = connect(await serve(host))
    async with client.messages.stream(**ask(model="tars")) as stream:
        async for text in stream.text_stream:
            assert text == "a"
            break
    await asyncio.wait_for(host.left.wait(), 30)


# --- the assistant ----------------------------------------------------------------------------------------------------


async def test_the_assistant_answers_with_its_sources_beside(serve, connect):
    served = await serve()
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    message = await connect(served).messages.create(**ask(model="tars", system="Be brief.", messages=turns))
    assert message.content[0].text == "Between 1.2 and 1.8 bar [1]."
    assert (message.usage.input_tokens, message.usage.output_tokens) == (42, 7)
    extra = message.model_extra["tarsd"]
    assert [source["file"] for source in extra["sources"]] == ["boiler-manual.pdf", "notas.md"]
    question = served.host.asked[0]
    assert (question.text, question.max_tokens) == ("two", 9)
    assert [(turn.question, turn.answer) for turn in question.turns] == [("Be brief.", "OK."), ("one", "1")]
    told = await events_of(served, ask(model="tars", stream=True))
    assert len(told[-2][1]["tarsd"]["sources"]) == 2


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"temperature": 2}}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [DOCUMENT]}]}, "messages[0].content[0].type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "tool", "name": "clock"}, "tools": [WEATHER]}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type"),
        ({"tools": [WEATHER | {"name": "none"}]}, "tools[0].name"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [*ASK, CALL]}, "messages[1]"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
        (
            {
                "messages": [
                    *ASK,
                    CALL,
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [IMAGE]}]},
                ]
            },
            "messages[2].content[0].content[0].type",
        ),
        ({"model": "tars", "tools": [WEATHER]}, "tools"),
        ({"model": "tars", "messages": [*ASK, {"role": "assistant", "content": "x"}]}, "messages[1].role"),
        (
            {
                "model": "tars",
                "messages": [
                    *ASK,
                    CALL,
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]},
                ],
            },
            "messages",
        ),
        ({"extra_body": {"container": "c1"}}, "container"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(serve, connect, changes, field):
    served = await serve(replies={"chat": CHAT})
    with pytest.raises(anthropic.BadRequestError) as caught:
        await connect(served).messages.create(**ask(**changes))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert caught.value.body["error"]["message"].startswith(f"{field}: ")
    assert (served.dispatch.calls, served.host.asked) == ([], [])


async def test_max_tokens_is_required(serve):
    served = await serve(replies={"chat": CHAT})
    body = {"model": "tiny-model", "messages": ASK}
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/v1/messages", json=body) as response:
        reply = await response.json()
    assert response.status == 400
    assert "max_tokens" in reply["error"]["message"]


async def test_an_unknown_model_and_counting_tokens_are_not_found(serve, connect):
    client = connect(await serve())
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.messages.create(**ask(model="claude-9"))
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.NotFoundError, match="usage"):
        await client.messages.count_tokens(model="tiny-model", messages=ASK)


async def test_a_full_queue_is_a_rate_limit_with_a_time_to_come_again(serve, connect):
    client = connect(await serve(ScriptedHost([ROUTE, events.ErrorEvent("Overloaded", "the queue is full", 7.0)])))
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.messages.create(**ask(model="tars"))
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.body["error"] == {"type": "rate_limit_error", "message": "the queue is full"}
    client = connect(await serve(replies={"chat": [Overloaded("full", 3.0)]}))
    with pytest.raises(anthropic.RateLimitError):
        async with client.messages.stream(**ask()):
            pass


async def test_a_wrong_token_is_told_as_anthropic_does(serve, connect):
    served = await serve(
        settings=Api(port=0, listen="0.0.0.0"), access_token="the-access-token", replies={"chat": CHAT}
    )
    with pytest.raises(anthropic.AuthenticationError) as caught:
        await connect(served).messages.create(**ask())
    assert caught.value.body["error"]["type"] == "authentication_error"
    message = await connect(served, api_key="the-access-token").messages.create(**ask())
    assert message.content[0].text == "Hello you"
