"""Tools, answer formats, several choices and waiting in chats, by the official client; the models are scripted."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import msgspec
import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tarsd import config
from tarsd.calls import ChatItem, ChatRequest, Message, Tool, ToolCall, Usage
from tarsd.engines.openai import OpenAIEngine
from tarsd.errors import ContextOverflow, Overloaded, PeerLost, Unavailable
from tarsd.host import events
from tests.api.scripted_services import HANG, ScriptedHost, answer

ASK = [{"role": "user", "content": "How warm is it in Cuenca?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "How warm it is.", "parameters": PARAMETERS, "strict": True},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
CALLS = [ToolCall("c1", "weather", '{"city":"Cuenca"}'), ToolCall("", "clock", "{}")]
CALLED = [
    ChatItem(text="I look.", engine="llama_cpp", model="tiny-model"),
    ChatItem(finish_reason="tool_calls", usage=Usage(20, 9, 12), tool_calls=CALLS),
]
SAID = [ChatItem(text="42", finish_reason="stop", usage=Usage(5, 1), engine="llama_cpp", model="tiny-model")]


def asked(served):
    """The one request that reached the models."""
    ((name, request, _),) = served.dispatch.calls
    assert name == "chat"
    return request


async def chat(client, **options):
    return await client.chat.completions.create(**({"model": "tiny-model", "messages": ASK} | options))


# --- tools ------------------------------------------------------------------------------------------------------------


async def test_tools_reach_the_model_and_its_calls_come_back(serve, connect):
    served = await serve(replies={"chat": CALLED})
    whole = await chat(connect(served), tools=[WEATHER, CLOCK])
    request = asked(served)
    assert request.tools[1] == Tool("clock")
    assert (request.tools[0].name, request.tools[0].description) == ("weather", "How warm it is.")
    assert json.loads(request.tools[0].parameters) == PARAMETERS
    assert request.tool_choice == "auto"
    choice = whole.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "I look.")
    first, second = choice.message.tool_calls
    assert (first.id, first.type, first.function.name, first.function.arguments) == (
        "c1",
        "function",
        "weather",
        '{"city":"Cuenca"}',
    )
    assert second.id.startswith("call_")  # a call that the model gave no id gets one
    assert whole.usage.prompt_tokens_details.cached_tokens == 12
    ChatCompletion.model_validate(whole.model_dump(), strict=True)


async def test_calls_without_text_have_no_content(serve, connect):
    served = await serve(replies={"chat": CALLED[1:]})
    whole = await chat(connect(served), tools=[WEATHER, CLOCK])
    assert whole.choices[0].message.content is None


async def test_calls_are_streamed_as_numbered_deltas(serve, connect):
    served = await serve(replies={"chat": CALLED})
    stream = await chat(connect(served), tools=[WEATHER, CLOCK], stream=True)
    chunks = [chunk async for chunk in stream]
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [(call.index, call.type, call.function.name, call.function.arguments) for call in deltas] == [
        (0, "function", "weather", '{"city":"Cuenca"}'),
        (1, "function", "clock", "{}"),
    ]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)


async def test_the_clients_own_gathering_of_a_stream_finds_the_calls(serve, connect):
    served = await serve(replies={"chat": CALLED})
    async with connect(served).chat.completions.stream(model="tiny-model", messages=ASK, tools=[WEATHER]) as stream:
        whole = await stream.get_final_completion()
    message = whole.choices[0].message
    assert (message.content, [call.function.name for call in message.tool_calls]) == ("I look.", ["weather", "clock"])


@pytest.mark.parametrize("stream", [False, True])
async def test_without_parallel_calls_there_is_one(serve, connect, stream):
    served = await serve(replies={"chat": CALLED})
    reply = await chat(connect(served), tools=[WEATHER, CLOCK], parallel_tool_calls=False, stream=stream)
    if stream:
        found = [call for chunk in [c async for c in reply] for call in chunk.choices[0].delta.tool_calls or []]
    else:
        found = reply.choices[0].message.tool_calls
    assert [call.function.name for call in found] == ["weather"]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "clock"}}, "clock"),
        (openai.NOT_GIVEN, "auto"),
    ],
)
async def test_what_must_be_called_is_told_to_the_model(serve, connect, choice, told):
    served = await serve(replies={"chat": SAID})
    await chat(connect(served), tools=[WEATHER, CLOCK], tool_choice=choice)
    assert asked(served).tool_choice == told


async def test_a_tools_answer_goes_back_with_the_name_of_its_tool(serve, connect):
    served = await serve(replies={"chat": SAID})
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Cuenca"}'}}
    told = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"},
    ]
    await chat(connect(served), messages=told, tools=[WEATHER])
    assert asked(served).messages[1:] == [
        Message("assistant", "", [ToolCall("c1", "weather", '{"city":"Cuenca"}')]),
        Message("tool", "21 degrees", tool_call_id="c1", name="weather"),
    ]


# --- formats ----------------------------------------------------------------------------------------------------------


async def test_a_schema_reaches_the_model(serve, connect):
    served = await serve(replies={"chat": SAID})
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PARAMETERS}}
    await chat(connect(served), response_format=wanted)
    assert json.loads(asked(served).json_schema) == PARAMETERS


@pytest.mark.parametrize(("kind", "told"), [("json_object", "{}"), ("text", "")])
async def test_a_format_without_a_schema_is_any_object_or_text(serve, connect, kind, told):
    served = await serve(replies={"chat": SAID})
    await chat(connect(served), response_format={"type": kind})
    assert asked(served).json_schema == told


class Place(pydantic.BaseModel):
    city: str
    degrees: int


async def test_the_clients_own_reading_of_an_answer_by_a_type_works(serve, connect):
    said = [ChatItem(text='{"city": "Cuenca", "degrees": 21}', finish_reason="stop", usage=Usage(5, 9))]
    served = await serve(replies={"chat": said})
    client = connect(served)
    whole = await client.chat.completions.parse(model="tiny-model", messages=ASK, response_format=Place)
    assert whole.choices[0].message.parsed == Place(city="Cuenca", degrees=21)
    assert set(json.loads(asked(served).json_schema)["required"]) == {"city", "degrees"}
    found = await client.responses.parse(model="tiny-model", input="How warm?", text_format=Place)
    assert found.output_parsed == Place(city="Cuenca", degrees=21)


# --- the answer's beginning, and its words ----------------------------------------------------------------------------

BEGUN = [*ASK, {"role": "assistant", "content": "It is "}]


@pytest.mark.parametrize("extra", [{}, {"continue_final_message": True, "add_generation_prompt": False}])
async def test_a_trailing_message_of_the_assistant_is_continued(serve, connect, extra):
    served = await serve(replies={"chat": SAID})
    whole = await chat(connect(served), messages=BEGUN, extra_body=extra)
    assert (asked(served).partial, asked(served).messages) == ("It is ", [Message("user", ASK[0]["content"])])
    assert whole.choices[0].message.content == "42"


async def test_a_trailing_message_may_stay_a_message_of_its_own(serve, connect):
    served = await serve(replies={"chat": SAID})
    await chat(connect(served), messages=BEGUN, extra_body={"continue_final_message": False})
    assert (asked(served).partial, asked(served).messages[-1]) == ("", Message("assistant", "It is "))


async def test_a_call_without_its_answer_is_no_beginning_of_a_text(serve, connect):
    served = await serve(replies={"chat": SAID})
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    await chat(connect(served), messages=[*ASK, {"role": "assistant", "content": "I look.", "tool_calls": [call]}])
    assert (asked(served).partial, len(asked(served).messages)) == ("", 2)


async def test_all_sampling_options_reach_the_model(serve, connect):
    served = await serve(replies={"chat": SAID})
    more = {"top_k": 7, "min_p": 0.1, "repeat_penalty": 1.2, "grammar": 'root ::= "a"', "prompt_cache_key": "chat-9"}
    await chat(
        connect(served),
        temperature=0.3,
        top_p=0.8,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        seed=9,
        stop=["a", "b"],
        max_completion_tokens=11,
        max_tokens=99,
        extra_body=more,
    )
    request = asked(served)
    assert (request.temperature, request.top_p, request.top_k, request.min_p) == (0.3, 0.8, 7, 0.1)
    assert (request.repeat_penalty, request.presence_penalty, request.frequency_penalty) == (1.2, 0.5, -0.5)
    assert (request.seed, request.stop, request.max_tokens, request.grammar) == (9, ["a", "b"], 11, 'root ::= "a"')
    assert request.conversation == served.dispatch.calls[0][2]["conversation"] == "chat-9"


@pytest.mark.parametrize(
    ("given", "field", "told"),
    [({"top_k": -1}, "top_k", 0), ({"repetition_penalty": 1.3}, "repeat_penalty", 1.3), ({}, "max_tokens", 32_768)],
)
async def test_what_vllm_calls_otherwise_and_what_is_not_given(serve, connect, given, field, told):
    served = await serve(replies={"chat": SAID})
    await chat(connect(served), extra_body=given)
    assert getattr(asked(served), field) == told


# --- several choices --------------------------------------------------------------------------------------------------


def by_seed(request):
    return [ChatItem(engine="llama_cpp", model="tiny-model"), *_words(request.seed)]


def _words(seed):
    return [ChatItem(text=f"s{seed}"), ChatItem(text="!", finish_reason="stop", usage=Usage(10, 2, 3))]


async def test_several_choices_are_made_each_with_its_own_seed(serve, connect):
    served = await serve(replies={"chat": by_seed})
    whole = await chat(connect(served), n=3, seed=7)
    assert [(choice.index, choice.message.content) for choice in whole.choices] == [(0, "s7!"), (1, "s8!"), (2, "s9!")]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (10, 6)  # one prompt, three answers
    assert whole.usage.prompt_tokens_details.cached_tokens == 3


async def test_a_seed_at_its_upper_bound_goes_on_at_the_lower(serve, connect):
    served = await serve(replies={"chat": by_seed})
    await chat(connect(served), n=2, seed=2**63 - 1)
    assert sorted(request.seed for _, request, _ in served.dispatch.calls) == [-(2**63), 2**63 - 1]


async def test_the_headers_name_each_node_once(serve, connect):
    served = await serve(replies={"chat": by_seed})
    raw = await connect(served).chat.completions.with_raw_response.create(model="tiny-model", messages=ASK, n=3)
    assert (raw.headers["x-tarsd-node"], raw.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")


async def test_several_choices_are_streamed_by_their_number(serve, connect):
    served = await serve(replies={"chat": by_seed})
    stream = await chat(connect(served), n=2, seed=7, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    texts, reasons = ["", ""], []
    for choice in [choice for chunk in chunks for choice in chunk.choices]:
        texts[choice.index] += choice.delta.content or ""
        reasons += [(choice.index, choice.finish_reason)] if choice.finish_reason else []
    assert texts == ["s7!", "s8!"]
    assert sorted(reasons) == [(0, "stop"), (1, "stop")]
    assert {choice.index for chunk in chunks for choice in chunk.choices if choice.delta.role} == {0, 1}
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (10, 4)
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_a_choice_that_fails_fails_all(serve, connect):
    def second_fails(request):
        return by_seed(request) if request.seed == 7 else [*by_seed(request)[:2], PeerLost("pc2 went away")]

    served = await serve(replies={"chat": second_fails})
    with pytest.raises(openai.InternalServerError, match="pc2 went away"):
        await chat(connect(served), n=2, seed=7)


async def test_a_stream_in_which_a_choice_has_no_end_is_not_whole(serve, connect):
    served = await serve(replies={"chat": lambda request: by_seed(request)[: 3 if request.seed == 7 else 2]})
    stream = await chat(connect(served), n=2, seed=7, stream=True)
    with pytest.raises(openai.APIError, match="without its last part"):
        [chunk async for chunk in stream]


async def test_who_leaves_ends_all_choices(serve, connect):
    items = [ChatItem(text="4", engine="llama_cpp", model="tiny-model"), HANG]
    served = await serve(replies={"chat": items})
    stream = await chat(connect(served), n=2, stream=True)
    seen = 0
    async for chunk in stream:
        seen += bool(chunk.choices[0].delta.content)
        if seen == 2:
            break
    await stream.close()
    async with asyncio.timeout(30):
        await asyncio.gather(*(call.ended.wait() for call in served.dispatch.made))
    assert len(served.dispatch.made) == 2


# --- a node as another one's server -----------------------------------------------------------------------------------


async def test_a_node_serves_the_engine_of_another_one(serve):
    served = await serve(replies={"chat": SAID})
    engine = OpenAIEngine(config.Engine(kind="openai", url=f"{served.url}/v1", model="tiny-model"), name="openai")
    await engine.start()
    try:
        request = ChatRequest([Message("user", "How warm?")], partial="It is ", seed=3)
        items = [item async for item in engine.generate(request, 10)]
    finally:
        await engine.stop()
    assert "".join(item.text for item in items) == "42"
    assert (items[-1].finish_reason, items[-1].usage) == ("stop", Usage(5, 1))
    assert (asked(served).partial, asked(served).messages, asked(served).seed) == ("It is ", request.messages, 3)


# --- refusals ---------------------------------------------------------------------------------------------------------

SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
HUGE = {"name": "f", "parameters": {"description": "x" * 65_536}}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 9}, "n"),
        ({"n": 0}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "no blanks"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "auto"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "clock\n"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": HUGE}]}, "tools[0].function.parameters"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": "must"}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": SCHEMA, "extra_body": {"grammar": "root ::= x"}}, "grammar"),
        ({"extra_body": {"continue_final_message": True}}, "continue_final_message"),
        ({"extra_body": {"min_p": 2}}, "min_p"),
        ({"messages": [{"role": "assistant", "content": "It is"}]}, "messages[0].role"),
        ({"messages": [*ASK, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [*ASK, {"role": "tool", "content": "x", "tool_call_id": "c1"}]}, "messages[1].tool_call_id"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"model": "tars", "tools": [CLOCK]}, "tools"),
        ({"model": "tars", "response_format": {"type": "json_object"}}, "response_format"),
        ({"model": "tars", "n": 2}, "n"),
        ({"model": "tars", "extra_body": {"grammar": "root ::= x"}}, "grammar"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(serve, connect, changes, param):
    served = await serve(replies={"chat": SAID})
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(connect(served), **changes)
    assert caught.value.param == param
    assert param in caught.value.message
    assert served.dispatch.calls == []
    assert served.host.asked == []


@pytest.mark.parametrize(
    "harmless",
    [{"user": "ana"}, {"store": True}, {"metadata": {"a": "b"}}, {"service_tier": "auto"}, {"tool_choice": "none"}],
)
async def test_what_changes_nothing_is_not_refused(serve, connect, harmless):
    assert (await chat(connect(await serve(replies={"chat": SAID})), **harmless)).choices[0].message.content == "42"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_too_long_for_the_model_is_told_with_openais_code(serve, connect, stream):
    too_long = ContextOverflow("messages: 9000 tokens do not fit the model's context of 8192 tokens")
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(connect(await serve(replies={"chat": [too_long]})), stream=stream)
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "context_length_exceeded",
        "messages",
        "invalid_request_error",
    )


async def test_which_limit_cut_an_answer_and_what_was_left_out_is_told(serve, connect):
    said = [
        ChatItem(text="4", engine="llama_cpp", model="tiny-model", dropped_messages=3),
        ChatItem(finish_reason="length", limit="context", usage=Usage(5, 1)),
    ]
    whole = await chat(connect(await serve(replies={"chat": said})))
    assert whole.choices[0].finish_reason == "length"
    told = whole.model_extra["tarsd"]
    assert (told["limit"], told["dropped_messages"], told["engine"]) == ("context", 3, "llama_cpp")


# --- waiting ----------------------------------------------------------------------------------------------------------


async def lines_of(served, count, **changes):
    body = {"model": "tiny-model", "messages": ASK, "stream": True} | changes
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/v1/chat/completions", json=body) as response,
    ):
        return [(await response.content.readline()).strip() for _ in range(count)]


async def test_a_stream_that_waits_tells_its_place_and_time(serve):
    waits = [
        ChatItem(queue_position=3, wait_s=11.2),
        ChatItem(queue_position=1),
        ChatItem(loading=True, wait_s=4),
        ChatItem(loading=True),
    ]
    lines = await lines_of(await serve(replies={"chat": [*waits, *SAID]}), 12)
    assert [line for line in lines if line.startswith(b":")] == [
        b": queued 3, about 12 s",
        b": queued 1",
        b": the model is being loaded, about 4 s",
        b": the model is being loaded",
    ]


async def test_while_nothing_changes_the_place_is_told_again(serve, monkeypatch):
    monkeypatch.setattr("tarsd.api.replies.batches.__defaults__", (0.02,))
    lines = await lines_of(await serve(replies={"chat": [ChatItem(queue_position=2, wait_s=9), HANG]}), 8)
    assert [line for line in lines if line.startswith(b":")] == [b": queued 2, about 9 s"] * 3


async def test_once_the_answer_began_its_place_is_no_longer_told(serve, monkeypatch):
    monkeypatch.setattr("tarsd.api.replies.batches.__defaults__", (0.02,))
    items = [ChatItem(queue_position=2), ChatItem(text="4"), HANG]
    lines = await lines_of(await serve(replies={"chat": items}), 10)
    assert [line for line in lines if line.startswith(b":")][-1] == b": still working"


@pytest.mark.parametrize(
    ("notice", "told"),
    [
        (events.NoticeEvent("waiting", "2 are before you.", 2, 7.5), b": queued 2, about 8 s"),
        (events.NoticeEvent("waiting", "The model is being loaded."), b": the model is being loaded"),
    ],
)
async def test_a_question_to_the_assistant_that_waits_tells_its_place_too(serve, notice, told):
    assert told in await lines_of(await serve(ScriptedHost([notice, events.TokenEvent("4")])), 8, model="tars")


async def test_a_notice_of_something_else_is_no_waiting(serve):
    notice = events.NoticeEvent("handover", "pc3 goes on with the answer.")
    lines = await lines_of(await serve(ScriptedHost([notice, *answer("4")])), 12, model="tars")
    assert not [line for line in lines if line.startswith(b":")]


async def test_which_limit_cut_the_assistants_answer_is_told(serve, connect):
    done = msgspec.structs.replace(answer()[-1], finish_reason="length", limit="context")
    whole = await chat(connect(await serve(ScriptedHost([events.TokenEvent("4"), done]))), model="tars")
    assert (whole.choices[0].finish_reason, whole.model_extra["tarsd"]["limit"]) == ("length", "context")


async def test_comments_do_not_disturb_the_official_client(serve, connect):
    served = await serve(replies={"chat": [ChatItem(queue_position=1), *SAID]})
    stream = await chat(connect(served), stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "42"


async def test_a_queue_that_is_full_is_a_plain_429_with_the_time_to_come_again(serve, connect):
    served = await serve(replies={"chat": [Overloaded("9 are waiting already", retry_after_s=6.1)]})
    with pytest.raises(openai.RateLimitError) as caught:
        await chat(connect(served), stream=True)
    assert caught.value.response.headers["Retry-After"] == "7"


async def test_an_answer_of_nothing_at_all_is_a_plain_error(serve, connect):
    with pytest.raises(openai.InternalServerError, match="without its last part"):
        await chat(connect(await serve(replies={"chat": []})), stream=True)


async def test_what_fails_after_the_wait_ends_the_stream_with_its_code(serve, connect):
    items = [ChatItem(queue_position=1), Unavailable("no engine is usable")]
    stream = await chat(connect(await serve(replies={"chat": items})), stream=True)
    with pytest.raises(openai.APIError, match="no engine is usable") as caught:
        [chunk async for chunk in stream]
    assert (caught.value.code, caught.value.type) == ("Unavailable", "server_error")
