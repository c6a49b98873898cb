"""The official `ollama` client, unchanged, against a real server; host and dispatch are scripted."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import ollama
import pytest

from tarsd.api.ollama_options import Options
from tarsd.calls import ChatItem, Message, Model, ModelsItem, Tool, ToolCall, Usage
from tarsd.errors import Overloaded, Unavailable
from tarsd.gossip.member import Load
from tarsd.host import events
from tarsd.names import Capability
from tests.api.scripted_services import HANG, ROUTE, ScriptedHost, answer, member

CHAT = [
    ChatItem(queue_position=2, wait_s=3.5),
    ChatItem(loading=True),
    ChatItem(engine="llama_cpp", model="tiny-model", dropped_messages=4),
    ChatItem(text="Hello"),
    ChatItem(text=" you", finish_reason="length", usage=Usage(5, 2), limit="max_tokens"),
]
CALLED = [
    ChatItem(engine="llama_cpp", model="tiny-model"),
    ChatItem(
        finish_reason="tool_calls",
        usage=Usage(9, 4),
        tool_calls=[ToolCall("c1", "weather", '{"city":"Lima"}'), ToolCall("c2", "clock", "{}")],
    ),
]
ASK = [{"role": "user", "content": "Which pressure?"}]
CALLING = {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Lima"}}}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def connect():
    clients = []

    def make(served) -> ollama.AsyncClient:
        client = ollama.AsyncClient(host=served.url)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


def asked(served):
    """The one chat call that was made."""
    (call,) = [request for name, request, _ in served.dispatch.calls if name == "chat"]
    return call


async def lines_of(served, path, body):
    """The lines of a reply, as they come."""
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}{path}", json=body) as response:
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in response.content]


# --- chat -------------------------------------------------------------------------------------------------------------


async def test_a_model_by_its_own_name_is_plain_inference_with_counts_and_durations(serve, connect):
    served = await serve(replies={"chat": CHAT})
    reply = await connect(served).chat("tiny-model", [{"role": "system", "content": "Be brief."}, *ASK])
    assert (reply.message.role, reply.message.content) == ("assistant", "Hello you")
    assert (reply.model, reply.done, reply.done_reason) == ("tiny-model", True, "length")
    assert (reply.prompt_eval_count, reply.eval_count) == (5, 2)
    assert reply.total_duration > 0
    assert reply.load_duration + reply.prompt_eval_duration + reply.eval_duration <= reply.total_duration
    request = asked(served)
    assert [m.role for m in request.messages] == ["system", "user"]
    assert request.overflow == "drop_oldest"
    assert served.host.asked == []


async def test_headers_and_the_last_object_say_who_answered_and_what_was_left_out(serve):
    served = await serve(replies={"chat": CHAT})
    body = {"model": "tiny-model", "messages": ASK, "stream": False}
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/api/chat", json=body) as response:
        reply = await response.json()
        assert (response.headers["x-tarsd-node"], response.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")
    assert reply["tarsd"] == {
        "generated_by": "pc2",
        "engine": "llama_cpp",
        "model": "tiny-model",
        "limit": "max_tokens",
        "dropped_messages": 4,
    }


async def test_a_stream_is_the_default_and_ends_with_the_counts(serve, connect):
    served = await serve(replies={"chat": CHAT})
    chunks = [chunk async for chunk in await connect(served).chat("tiny-model", ASK, stream=True)]
    assert "".join(chunk.message.content for chunk in chunks) == "Hello you"
    assert [chunk.done for chunk in chunks[-2:]] == [False, True]
    assert (chunks[-1].done_reason, chunks[-1].eval_count) == ("length", 2)
    raw = await lines_of(served, "/api/chat", {"model": "tiny-model", "messages": ASK})
    assert len(raw) == len(chunks)


async def test_a_streams_headers_say_who_answers_where_that_is_known(serve):
    served = await serve(replies={"chat": CHAT[2:]})
    body = {"model": "tiny-model", "messages": ASK}
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/api/chat", json=body) as response:
        assert (response.headers["x-tarsd-node"], response.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")


async def test_while_it_waits_a_stream_says_where_it_stands(serve):
    served = await serve(replies={"chat": CHAT})
    raw = await lines_of(served, "/api/chat", {"model": "tiny-model", "messages": ASK})
    assert (raw[0]["queue_position"], raw[0]["wait_s"], raw[0]["message"]["content"]) == (2, 3.5, "")
    assert (raw[1]["queue_position"], raw[1]["loading"]) == (0, True)
    assert all("queue_position" not in line for line in raw[2:])


async def test_a_silent_stream_repeats_where_it_stands(serve, monkeypatch, connect):
    monkeypatch.setattr("tarsd.api.replies.batches.__defaults__", (0.02,))
    served = await serve(replies={"chat": [CHAT[0], HANG]})
    stream = await connect(served).chat("tiny-model", ASK, stream=True)
    seen = [chunk async for _, chunk in _some(stream, 3)]
    await stream.aclose()
    assert [(chunk.done, chunk.message.content) for chunk in seen] == [(False, "")] * 3
    body = {"model": "tiny-model", "messages": ASK}
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/api/chat", json=body) as response:
        raw = [json.loads(await response.content.readline()) for _ in range(3)]
    assert [line["queue_position"] for line in raw] == [2, 2, 2]


async def _some(stream, count):
    number = 0
    async for item in stream:
        yield number, item
        number += 1
        if number == count:
            return


async def test_options_reach_the_model(serve, connect):
    served = await serve(replies={"chat": CHAT})
    options = {
        "temperature": 0.2,
        "top_p": 0.5,
        "top_k": 7,
        "min_p": 0.1,
        "seed": 42,
        "num_predict": 9,
        "stop": ["."],
        "repeat_penalty": 1.3,
        "presence_penalty": 0.4,
        "frequency_penalty": 0.6,
        "num_ctx": 4096,
        "mirostat": 0,
    }
    await connect(served).chat("tiny-model", ASK, options=options)
    r = asked(served)
    assert (r.temperature, r.top_p, r.top_k, r.min_p, r.seed, r.max_tokens) == (0.2, 0.5, 7, 0.1, 42, 9)
    assert (r.stop, r.repeat_penalty, r.presence_penalty, r.frequency_penalty) == (["."], 1.3, 0.4, 0.6)


async def test_without_options_ollamas_defaults_hold_and_the_answer_is_as_long_as_allowed(serve, connect):
    served = await serve(replies={"chat": CHAT})
    await connect(served).chat("tiny-model", ASK, options={"num_predict": -1, "seed": -1})
    r = asked(served)
    assert (r.temperature, r.top_p, r.top_k, r.min_p, r.repeat_penalty, r.seed) == (0.8, 0.9, 40, 0.0, 1.1, None)
    assert r.max_tokens > 100_000


async def test_an_option_that_is_null_was_not_given(serve, connect):
    served = await serve(replies={"chat": CHAT})
    await connect(served).chat("tiny-model", ASK, options=dict.fromkeys(Options.__struct_fields__))
    await connect(served).chat("tiny-model", ASK)
    first, second = [request for _, request, _ in served.dispatch.calls]
    assert first == second


async def test_the_assistant_hears_options_too(serve, connect):
    host = ScriptedHost([ROUTE, *answer()])
    served = await serve(host)
    await connect(served).chat("tars", ASK, options={"num_predict": 9, "top_p": 0.5, "temperature": 0.1})
    await connect(served).chat("tars", ASK)
    assert [(q.max_tokens, q.top_p, q.temperature) for q in host.asked] == [(9, 0.5, 0.1), (0, 0.9, None)]


async def test_a_schema_or_json_is_what_the_answer_must_fit(serve, connect):
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    for given, expected in ((schema, schema), ("json", {}), ("", None)):
        served = await serve(replies={"chat": CHAT})
        await connect(served).chat("tiny-model", ASK, format=given)
        found = asked(served).json_schema
        assert (json.loads(found) if found else None) == expected


async def test_tools_are_offered_and_calls_come_back_as_objects(serve, connect):
    served = await serve(replies={"chat": CALLED})
    reply = await connect(served).chat("tiny-model", ASK, tools=[WEATHER])
    assert [(c.function.name, c.function.arguments) for c in reply.message.tool_calls] == [
        ("weather", {"city": "Lima"}),
        ("clock", {}),
    ]
    assert reply.done_reason == "stop"
    (tool,) = asked(served).tools
    assert (tool.name, tool.description) == ("weather", "of a city")
    assert json.loads(tool.parameters)["required"] == ["city"]
    chunks = [chunk async for chunk in await connect(served).chat("tiny-model", ASK, tools=[WEATHER], stream=True)]
    assert [c.function.name for chunk in chunks for c in chunk.message.tool_calls or ()] == ["weather", "clock"]
    assert chunks[-1].done


async def test_a_tools_result_answers_the_first_call_of_its_name(serve, connect):
    served = await serve(replies={"chat": CHAT})
    calls = [{"function": {"name": name, "arguments": {"city": name}}} for name in ("weather", "clock", "weather")]
    results = [
        {"role": "tool", "content": "12:00", "tool_name": "clock"},
        {"role": "tool", "content": "rain", "tool_name": "weather"},
        {"role": "tool", "content": "sun"},
    ]
    await connect(served).chat("tiny-model", [*ASK, {"role": "assistant", "tool_calls": calls}, *results])
    messages = asked(served).messages
    ids = [call.id for call in messages[1].tool_calls]
    assert len(set(ids)) == 3
    assert json.loads(messages[1].tool_calls[0].arguments) == {"city": "weather"}
    assert [(m.tool_call_id, m.name) for m in messages[2:]] == [
        (ids[1], "clock"),
        (ids[0], "weather"),
        (ids[2], "weather"),
    ]


async def test_calls_with_arguments_that_are_no_object_are_an_error(serve, connect):
    broken = [ChatItem(finish_reason="tool_calls", usage=Usage(1, 1), tool_calls=[ToolCall("c", "weather", "[1")])]
    served = await serve(replies={"chat": broken})
    with pytest.raises(ollama.ResponseError) as caught:
        await connect(served).chat("tiny-model", ASK, tools=[WEATHER])
    assert "weather" in caught.value.error
    with pytest.raises(ollama.ResponseError, match="no JSON object"):
        [chunk async for chunk in await connect(served).chat("tiny-model", ASK, tools=[WEATHER], stream=True)]


async def test_the_beginning_of_the_answer_is_continued(serve, connect):
    served = await serve(replies={"chat": CHAT})
    await connect(served).chat("tiny-model", [*ASK, {"role": "assistant", "content": "Between"}])
    assert (asked(served).partial, [m.role for m in asked(served).messages]) == ("Between", ["user"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        (-1, -1.0),
        ("-1m", -1.0),
        ("inf", -1.0),
        (20, 20.0),
        ("0", 0.0),
    ],
)
async def test_keep_alive_is_seconds_or_a_duration(serve, connect, given, expected):
    served = await serve(replies={"chat": CHAT})
    await connect(served).chat("tiny-model", ASK, keep_alive=given)
    assert asked(served).keep_alive_s == expected


async def test_a_name_means_the_same_with_and_without_its_tag(serve, connect):
    served = await serve(replies={"chat": CHAT}, models=lambda: ["tiny-model", "llama3:latest", "qwen:1b"])
    client = connect(served)
    for name, model in (("tiny-model:latest", "tiny-model"), ("llama3", "llama3:latest"), ("qwen:1b", "qwen:1b")):
        reply = await client.chat(name, ASK)
        assert (reply.model, served.dispatch.calls[-1][1].model) == (name, model)


async def test_an_unknown_model_is_not_found_as_ollama_says_it(serve, connect):
    client = connect(await serve())
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat("gpt-9", ASK)
    assert (caught.value.status_code, caught.value.error) == (404, "model 'gpt-9' not found")
    with pytest.raises(ollama.ResponseError) as caught:
        [chunk async for chunk in await client.generate("gpt-9", "x", stream=True)]
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("path", "changes", "field"),
    [
        ("/api/chat", {"messages": [{"role": "clown", "content": "x"}]}, "messages[0].role"),
        ("/api/chat", {"messages": [ASK[0] | {"images": ["aGk="]}]}, "messages[0].images"),
        ("/api/chat", {"format": "yaml"}, "format"),
        ("/api/chat", {"keep_alive": "soon"}, "keep_alive"),
        ("/api/chat", {"options": {"temperature": -1}}, "options.temperature"),
        ("/api/chat", {"logprobs": True}, "logprobs"),
        ("/api/chat", {"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ("/api/chat", {"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ("/api/chat", {"messages": [*ASK, CALLING]}, "messages[1].tool_calls"),
        ("/api/chat", {"model": "tars", "tools": [WEATHER]}, "tools"),
        ("/api/chat", {"model": "tars", "format": "json"}, "format"),
        ("/api/chat", {"model": "tars", "messages": [*ASK, {"role": "assistant", "content": "x"}]}, "messages[1].role"),
        ("/api/chat", {"model": "tars", "messages": [{"role": "tool", "content": "x"}, *ASK]}, "messages[0].role"),
        ("/api/generate", {"suffix": "x"}, "suffix"),
        ("/api/generate", {"template": "{{ .Prompt }}"}, "template"),
        ("/api/generate", {"context": [1, 2]}, "context"),
        ("/api/generate", {"images": ["aGk="]}, "images"),
        ("/api/generate", {"model": "tars", "raw": True}, "raw"),
        ("/api/generate", {"raw": True, "system": "x"}, "system"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(serve, path, changes, field):
    served = await serve(replies={"chat": CHAT})
    own = {"messages": ASK} if path == "/api/chat" else {"prompt": "x"}
    body = {"model": "tiny-model"} | own | changes
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}{path}", json=body) as response:
        reply = await response.json()
    assert response.status == 400
    assert reply["error"].startswith(f"{field}: ")
    assert (served.dispatch.calls, served.host.asked) == ([], [])


async def test_a_full_queue_says_when_to_come_again(serve, connect):
    served = await serve(replies={"chat": [Overloaded("the queue is full", 3.0)]})
    with pytest.raises(ollama.ResponseError) as caught:
        [chunk async for chunk in await connect(served).chat("tiny-model", ASK, stream=True)]
    assert (caught.value.status_code, caught.value.error) == (429, "the queue is full")


async def test_a_stream_that_fails_in_the_middle_ends_with_an_error(serve, connect):
    for items in ([*CHAT[2:4], Unavailable("pc2 went away")], CHAT[2:4]):
        served = await serve(replies={"chat": items})
        shown = []
        with pytest.raises(ollama.ResponseError, match=r"went away|without its last part"):
            await _collect(connect(served), shown)
        assert "".join(shown) == "Hello"


async def _collect(client, shown):
    async for chunk in await client.chat("tiny-model", ASK, stream=True):
        shown.append(chunk.message.content)


async def test_an_answer_cut_short_is_no_answer(serve, connect):
    served = await serve(replies={"chat": CHAT[2:4]})
    with pytest.raises(ollama.ResponseError) as caught:
        await connect(served).chat("tiny-model", ASK)
    assert caught.value.status_code == 503


async def test_a_client_that_leaves_cancels_the_answer(serve, connect):
    host = ScriptedHost(answer("a", "b"), hang_after=3)
    stream = await connect(await serve(host)).chat("tars", ASK, stream=True)
    async for chunk in stream:
        if chunk.message.content == "a":
            break
    await stream.aclose()
    await asyncio.wait_for(host.left.wait(), 30)


# --- the assistant ----------------------------------------------------------------------------------------------------


async def test_the_assistant_answers_with_its_sources_beside(serve, connect):
    served = await serve()
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    reply = await connect(served).chat("tars:latest", turns, options={"num_predict": 30})
    assert reply.message.content == "Between 1.2 and 1.8 bar [1]."
    assert (reply.prompt_eval_count, reply.eval_count, reply.done_reason) == (42, 7, "stop")
    question = served.host.asked[0]
    assert (question.text, question.max_tokens, question.temperature) == ("two", 30, None)
    assert [(turn.question, turn.answer) for turn in question.turns] == [("Be brief.", "OK."), ("one", "1")]
    raw = await lines_of(served, "/api/chat", {"model": "tars", "messages": ASK})
    assert [source["file"] for source in raw[-1]["tarsd"]["sources"]] == ["boiler-manual.pdf", "notas.md"]
    assert raw[-1]["tarsd"]["generated_by"] == "pc1"


async def test_the_assistants_queue_is_told_as_well(serve):
    waiting = events.NoticeEvent("waiting", "3 before this one", 3)
    served = await serve(ScriptedHost([ROUTE, waiting, *answer("a")[1:]]))
    raw = await lines_of(served, "/api/chat", {"model": "tars", "messages": ASK})
    assert raw[0]["queue_position"] == 3
    assert raw[0]["tarsd"]["notices"] == ["3 before this one"]


# --- generate ---------------------------------------------------------------------------------------------------------


async def test_generate_answers_a_prompt_with_its_system_text(serve, connect):
    served = await serve(replies={"chat": CHAT})
    reply = await connect(served).generate("tiny-model", "Which pressure?", system="Be brief.")
    assert (reply.response, reply.done, reply.eval_count) == ("Hello you", True, 2)
    assert [(m.role, m.content) for m in asked(served).messages] == [
        ("system", "Be brief."),
        ("user", "Which pressure?"),
    ]
    chunks = [chunk async for chunk in await connect(served).generate("tiny-model", "x", stream=True)]
    assert "".join(chunk.response for chunk in chunks) == "Hello you"


async def test_a_raw_prompt_goes_to_the_model_as_it_is(serve, connect):
    served = await serve(replies={"chat": CHAT})
    await connect(served).generate("tiny-model", "Once upon", raw=True)
    assert (asked(served).prompt, asked(served).messages) == ("Once upon", [])


# --- loading and unloading --------------------------------------------------------------------------------------------


async def test_no_prompt_loads_the_model_and_says_so(serve, connect):
    served = await serve(replies={"chat": CHAT})
    reply = await connect(served).generate("tiny-model", keep_alive="10m")
    assert (reply.response, reply.done, reply.done_reason) == ("", True, "load")
    assert (asked(served).max_tokens, asked(served).keep_alive_s) == (1, 600.0)
    reply = await connect(served).chat("tiny-model", [])
    assert (reply.message.content, reply.done_reason) == ("", "load")


async def test_a_keep_alive_of_nothing_unloads_the_model_where_it_is_loaded(serve, connect):
    loaded = [ModelsItem([Model("tiny-model", "loaded"), Model("org/other", "present")])]
    members = (member("pc1", is_self=True), _with_models("pc2"), _with_models("pc3"))
    served = await serve(replies={"chat": CHAT, "models": loaded}, members=lambda: members)
    reply = await connect(served).generate("tiny-model", keep_alive=0)
    assert (reply.done, reply.done_reason) == (True, "unload")
    made = [
        (request.keep_alive_s, options["only"]) for name, request, options in served.dispatch.calls if name == "chat"
    ]
    assert made == [(0.0, members[1].node), (0.0, members[2].node)]
    reply = await connect(served).chat("org/other", [], keep_alive=0)
    assert reply.done_reason == "unload"
    assert len([name for name, _, _ in served.dispatch.calls if name == "chat"]) == 2


async def test_loading_the_assistant_asks_nobody(serve, connect):
    served = await serve()
    assert (await connect(served).generate("tars")).done_reason == "load"
    assert (await connect(served).generate("tars", keep_alive=0)).done_reason == "unload"
    assert (served.dispatch.calls, served.host.asked) == ([], [])


def _with_models(name, **changes):
    capabilities = {Capability("models"): {}, Capability("chat"): {"model": "tiny-model"}}
    return member(name, capabilities=capabilities, load=Load(), **changes)


async def test_the_request_reaches_the_model_with_messages_of_every_kind(serve, connect):
    served = await serve(replies={"chat": CHAT})
    await connect(served).chat("tiny-model", [{"role": "system", "content": "S"}, *ASK], think=False)
    assert asked(served).messages == [Message("system", "S"), Message("user", "Which pressure?")]
    assert asked(served).tools == list[Tool]()
