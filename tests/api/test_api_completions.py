"""The official `openai` client, unchanged, against a real server; host and dispatch are scripted."""

from __future__ import annotations

import asyncio

import aiohttp
import openai
import pytest

from tarsd.calls import ChatItem, Usage
from tarsd.errors import Overloaded, Unavailable
from tarsd.host import events
from tests.api.scripted_services import HANG, ROUTE, ScriptedHost, answer

CHAT = [
    ChatItem(queue_position=1),
    ChatItem(engine="llama_cpp", model="tiny-model"),
    ChatItem(text="Hello"),
    ChatItem(text=" you", finish_reason="length", usage=Usage(5, 2)),
]
ASK = [{"role": "user", "content": "Which pressure?"}]


async def test_the_assistant_answers_with_usage_and_sources(serve, connect):
    served = await serve()
    raw = await connect(served).chat.completions.with_raw_response.create(model="tars", messages=ASK)
    whole = raw.parse()
    assert whole.choices[0].message.content == "Between 1.2 and 1.8 bar [1]."
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (42, 7, 49)
    extra = whole.model_extra["tarsd"]
    assert [source["file"] for source in extra["sources"]] == ["boiler-manual.pdf", "notas.md"]
    assert (extra["generated_by"], extra["prepared_by"], extra["route"]) == ("pc1", "pc2", "needs_context")
    assert raw.headers["x-tarsd-node"] == "pc1"
    assert raw.headers["x-tarsd-engine"] == "llama_cpp"


async def test_the_assistant_streams(serve, connect):
    served = await serve()
    stream = await connect(served).chat.completions.create(
        model="tars", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Between 1.2 and 1.8 bar [1]."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 49
    assert len({chunk.id for chunk in chunks}) == 1
    extras = [chunk.model_extra["tarsd"] for chunk in chunks if "tarsd" in (chunk.model_extra or {})]
    assert any("sources" in extra for extra in extras)
    assert extras[-1]["generated_by"] == "pc1"


async def test_without_include_usage_no_chunk_has_usage(serve, connect):
    served = await serve()
    stream = await connect(served).chat.completions.create(model="tars", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_a_chat_model_by_its_own_name_is_plain_inference(serve, connect):
    served = await serve(replies={"chat": CHAT})
    raw = await connect(served).chat.completions.with_raw_response.create(
        model="tiny-model",
        messages=[{"role": "system", "content": "Be brief."}, *ASK],
        max_tokens=9,
        temperature=0,
        seed=7,
        stop=".",
    )
    whole = raw.parse()
    assert whole.choices[0].message.content == "Hello you"
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.total_tokens == 7
    assert (raw.headers["x-tarsd-node"], raw.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")
    name, request, _ = served.dispatch.calls[0]
    assert name == "chat"
    assert [message.role for message in request.messages] == ["system", "user"]
    assert (request.model, request.max_tokens, request.temperature, request.seed, request.stop) == (
        "tiny-model",
        9,
        0,
        7,
        ["."],
    )
    assert served.host.asked == []


async def test_plain_inference_streams(serve, connect):
    served = await serve(replies={"chat": CHAT})
    stream = await connect(served).chat.completions.create(model="tiny-model", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello you"
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_the_exchanges_before_the_question_are_its_turns(serve, connect):
    served = await serve()
    await connect(served).chat.completions.create(
        model="tars",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": [{"type": "text", "text": "two"}]},
        ],
    )
    question = served.host.asked[0]
    assert question.text == "two"
    assert [(turn.question, turn.answer) for turn in question.turns] == [("Be brief.", "OK."), ("one", "1")]


async def test_models_are_the_assistant_and_those_alive(serve, connect):
    client = connect(await serve())
    assert [model.id async for model in client.models.list()] == ["tars", "tiny-model", "org/other"]
    assert (await client.models.retrieve("org/other")).id == "org/other"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


async def test_an_unknown_model_is_told_as_openai_does(serve, connect):
    with pytest.raises(openai.NotFoundError) as caught:
        await connect(await serve()).chat.completions.create(model="gpt-9", messages=ASK)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "tiny-model" in caught.value.message


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "clown", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0].role"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(serve, connect, changes, param):
    served = await serve()
    with pytest.raises(openai.BadRequestError) as caught:
        await connect(served).chat.completions.create(**({"model": "tars", "messages": ASK} | changes))
    assert caught.value.param == param
    assert served.host.asked == []


async def test_a_full_queue_is_a_rate_limit_with_a_time_to_come_again(serve, connect):
    served = await serve(ScriptedHost([ROUTE, events.ErrorEvent("Overloaded", "the queue is full", 7.0)]))
    client = connect(served)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="tars", messages=ASK)
    assert caught.value.response.headers["retry-after"] == "7"
    served = await serve(replies={"chat": [Overloaded("full", 3.0)]})
    with pytest.raises(openai.RateLimitError):
        await connect(served).chat.completions.create(model="tiny-model", messages=ASK, stream=True)


async def test_a_stream_that_fails_in_the_middle_ends_with_an_error(serve, connect):
    served = await serve(replies={"chat": [*CHAT[1:3], Unavailable("pc2 went away")]})
    stream = await connect(served).chat.completions.create(model="tiny-model", messages=ASK, stream=True)
    shown = []
    with pytest.raises(openai.APIError, match="pc2 went away"):
        await _collect(stream, shown)
    assert "".join(shown) == "Hello"


async def test_an_answer_cut_short_is_no_answer(serve, connect):
    served = await serve(replies={"chat": CHAT[:3]})
    with pytest.raises(openai.InternalServerError):
        await connect(served).chat.completions.create(model="tiny-model", messages=ASK)


async def test_a_client_that_leaves_cancels_the_call(serve, connect):
    host = ScriptedHost(answer("a", "b"), hang_after=3)
    served = await serve(host)
    stream = await connect(served).chat.completions.create(model="tars", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content == "a":
            break
    await stream.close()
    await asyncio.wait_for(host.left.wait(), 30)


async def test_a_silent_stream_carries_comments(serve, monkeypatch):
    monkeypatch.setattr("tarsd.api.replies.batches.__defaults__", (0.02,))
    served = await serve(replies={"chat": [CHAT[1], HANG]})
    body = {"model": "tiny-model", "messages": ASK, "stream": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/v1/chat/completions", json=body) as response,
    ):
        assert response.content_type == "text/event-stream"
        lines = [line async for line in _some(response.content, 6)]
    assert b": still working\n" in lines


async def _collect(stream, shown):
    async for chunk in stream:
        shown.append(chunk.choices[0].delta.content or "")


async def _some(stream, count):
    for _ in range(count):
        yield await stream.readline()


async def test_a_stream_that_breaks_ends_in_an_error_and_never_as_a_whole_one(serve, connect):
    served = await serve(ScriptedHost([ROUTE, events.TokenEvent("half")]))
    stream = await connect(served).chat.completions.create(model="tars", messages=ASK, stream=True)
    seen: list[str | None] = []

    async def read() -> None:
        async for chunk in stream:
            seen.extend((chunk.choices[0].delta.content, chunk.choices[0].finish_reason))

    with pytest.raises(openai.APIError, match="without its last part"):
        await read()
    assert [told for told in seen if told] == ["half"]


async def test_a_stream_that_breaks_never_says_done(serve):
    served = await serve(ScriptedHost([ROUTE, events.TokenEvent("half"), events.ErrorEvent("PeerLost", "gone")]))
    body = {"model": "tars", "stream": True, "messages": ASK}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/v1/chat/completions", json=body) as response,
    ):
        lines = (await response.text()).strip().split("\n\n")
    assert "[DONE]" not in lines[-1]
    assert '"error"' in lines[-1]
