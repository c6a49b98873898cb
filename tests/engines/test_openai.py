"""The engine `openai`: against llama-cpp-python's real server, and against a fake for what a real one does not do."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from tarsd import calls, config
from tarsd.engines import bundled
from tarsd.engines.openai import OpenAIEngine
from tarsd.errors import (
    CannotServe,
    ConfigError,
    ContextOverflow,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidInput,
    Overloaded,
    TarsdError,
)
from tests.engines.conftest import answer, question, text_of
from tests.engines.fake_openai_server import FakeOpenAI


def engine_at(url: str, **settings: object) -> OpenAIEngine:
    return OpenAIEngine(config.Engine(kind="openai", url=url, **settings), name="openai")  # type: ignore[arg-type]


# --- the real server ----------------------------------------------------------------------------------------------


async def _until_served(url: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/models"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


@pytest.fixture
async def real(unused_tcp_port: int) -> AsyncIterator[str]:
    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        pytest.skip("llama_cpp.server is not installed: pip install 'llama-cpp-python[server]'")
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "llama_cpp.server", "--model", str(bundled.chat_gguf()), "--model_alias", "small"),
        *("--host", "127.0.0.1", "--port", str(unused_tcp_port), "--n_threads", "1", "--n_ctx", "2048"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    try:
        await _until_served(url)
        yield url
    finally:
        server.kill()
        await server.wait()


@pytest.mark.model
async def test_a_real_server_answers_and_is_stopped_by_closing(real: str) -> None:
    engine = engine_at(real)
    await engine.start()
    info = engine.info()
    assert info is not None
    assert info.model == "small"
    items = await answer(engine, question(max_tokens=12))
    assert (items[0].engine, items[0].model) == ("openai", "small")
    assert items[-1].finish_reason == "length"
    assert items[-1].usage is not None
    assert items[-1].usage.completion_tokens == pytest.approx(12, abs=1)
    async with aclosing(engine.generate(question("Tell a very long story.", max_tokens=1500), 60)) as story:
        await anext(story)
    async with asyncio.timeout(30):
        assert text_of(await answer(engine, question(max_tokens=4)))
    await engine.stop()


@pytest.mark.model
async def test_a_real_servers_continuation_does_not_repeat(real: str) -> None:
    engine = engine_at(real)
    await engine.start()
    whole = text_of(await answer(engine, question(max_tokens=8)))
    rest = text_of(await answer(engine, question(max_tokens=8, partial=whole)))
    assert not rest.lstrip().startswith(whole.strip())
    await engine.stop()


# --- the fake -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def fake() -> FakeOpenAI:
    return FakeOpenAI()


@pytest.fixture
async def url(fake: FakeOpenAI) -> AsyncIterator[str]:
    async with TestServer(fake.app(), handler_cancellation=True) as server:
        yield str(server.make_url("/v1"))


@pytest.fixture
async def engine(url: str) -> AsyncIterator[OpenAIEngine]:
    engine = engine_at(url, context_tokens=8192)
    await engine.start()
    yield engine
    await engine.stop()


async def test_the_request_says_all_that_was_asked(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    items = await answer(engine, question(max_tokens=9, temperature=0.3, top_p=0.8, seed=4, stop=["###"]))
    assert [item.text for item in items] == ["The", " sky", " is", " blue.", ""]
    assert items[-1].usage == calls.Usage(11, 4, 5)
    asked = fake.asked[0]
    assert (
        asked | {"model": "big", "max_tokens": 9, "temperature": 0.3, "top_p": 0.8, "seed": 4, "stop": ["###"]} == asked
    )
    assert asked["stream"] is True
    assert "continue_final_message" not in asked


async def test_a_servers_own_context_counts(engine: OpenAIEngine) -> None:
    info = engine.info()
    assert info is not None
    assert info.context_tokens == 4096


async def test_without_a_usage_chunk_the_pieces_are_counted(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.counts = False
    assert (await answer(engine, question()))[-1].usage == calls.Usage(0, 4)


async def test_a_partial_answer_is_sent_as_one_to_continue(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    assert text_of(await answer(engine, question(partial="The sky"))) == " is blue."
    assert fake.asked[0]["messages"][-1] == {"role": "assistant", "content": "The sky"}
    assert fake.asked[0]["continue_final_message"] is True
    assert fake.asked[0]["add_generation_prompt"] is False


async def test_a_server_that_refuses_the_extra_fields_is_asked_without_them(
    engine: OpenAIEngine, fake: FakeOpenAI
) -> None:
    fake.strict = True
    assert text_of(await answer(engine, question(partial="The sky"))) == " is blue."
    assert len(fake.asked) == 3
    assert "continue_final_message" not in fake.asked[2]


async def test_the_key_is_sent(url: str, fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.key = "s3cret"
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    engine = engine_at(url, api_key_file=path)
    await engine.start()
    assert await answer(engine, question())
    await engine.stop()
    stranger = engine_at(url)
    with pytest.raises(EngineUnavailable, match="401"):
        await stranger.start()
    await stranger.stop()
    forgetful = engine_at(url, api_key_file=tmp_path / "none")
    with pytest.raises(EngineUnavailable, match=r"key of .* cannot be read"):
        await forgetful.start()


async def test_a_model_that_is_not_there_says_what_is(url: str) -> None:
    engine = engine_at(url, model="other")
    with pytest.raises(EngineUnavailable, match=r"no model 'other', but \['big'\]"):
        await engine.start()
    await engine.stop()


async def test_no_server_is_an_engine_that_cannot_be_used(unused_tcp_port: int) -> None:
    engine = engine_at(f"http://127.0.0.1:{unused_tcp_port}/v1")
    with pytest.raises(EngineUnavailable):
        await engine.start()
    await engine.stop()


def test_without_url_it_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigError, match="needs `url`"):
        engine_at("")


@pytest.mark.parametrize(
    ("status", "error"), [(400, InvalidInput), (401, EngineUnavailable), (500, EngineUnavailable), (429, Overloaded)]
)
async def test_a_refusal_means_what_its_status_means(
    engine: OpenAIEngine, fake: FakeOpenAI, status: int, error: type[TarsdError]
) -> None:
    fake.status = status
    with pytest.raises(error) as caught:
        await answer(engine, question())
    assert type(caught.value) is error


@pytest.mark.parametrize("fault", ["error_after", "cut_after", "end_after"])
async def test_a_failure_in_mid_answer_is_for_the_next_engine(
    engine: OpenAIEngine, fake: FakeOpenAI, fault: str
) -> None:
    setattr(fake, fault, 2)
    async with aclosing(engine.generate(question(), 10)) as items:
        assert [(await anext(items)).text for _ in range(2)] == ["The", " sky"]
        with pytest.raises(EngineUnavailable):
            await anext(items)


async def test_a_silent_server_ends_at_the_deadline_and_closing_closes(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.hang_after = 1
    with pytest.raises(DeadlineExceeded):
        await answer(engine, question(), deadline_s=1.5)
    await fake.left.wait()
    fake.left.clear()
    async with aclosing(engine.generate(question(), 10)) as items:
        await anext(items)
    await fake.left.wait()


WEATHER = calls.Tool("weather", "Weather of a city", '{"type": "object", "properties": {"city": {"type": "string"}}}')


async def test_tools_go_there_and_calls_come_back_whole(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.words = []
    fake.calls = [
        {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"ci'}},
        {"index": 0, "function": {"arguments": 'ty": "León"}'}},
        {"index": 1, "id": "c2", "function": {"name": "weather", "arguments": "{}"}},
    ]
    earlier = calls.Message("assistant", "", tool_calls=[calls.ToolCall("c0", "weather", '{"city": "Málaga"}')])
    answered = calls.Message("tool", "sunny", tool_call_id="c0", name="weather")
    messages = [calls.Message("user", "Weather?"), earlier, answered]
    items = await answer(engine, calls.ChatRequest(messages, tools=[WEATHER], tool_choice="weather"))
    assert items[-1].finish_reason == "tool_calls"
    assert items[-1].tool_calls == [
        calls.ToolCall("c1", "weather", '{"city": "León"}'),
        calls.ToolCall("c2", "weather", "{}"),
    ]
    asked = fake.asked[0]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert asked["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Málaga"}'
    assert asked["messages"][2]["tool_call_id"] == "c0"


@pytest.mark.parametrize(("schema", "kind"), [("{}", "json_object"), ('{"type": "object"}', "json_schema")])
async def test_a_schema_is_its_response_format(engine: OpenAIEngine, fake: FakeOpenAI, schema: str, kind: str) -> None:
    items = await answer(engine, question(json_schema=schema))
    assert fake.asked[0]["response_format"]["type"] == kind
    assert items[-1].usage is not None
    assert items[-1].usage.cached_tokens == 5


async def test_a_bare_prompt_goes_to_completions(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    items = await answer(engine, question(messages=[], prompt="Why is", partial=" the"))
    assert text_of(items) == "The sky is blue."
    assert fake.asked[0]["prompt"] == "Why is the"
    assert "messages" not in fake.asked[0]


async def test_a_server_that_takes_no_foreign_fields_is_asked_with_them_once(
    engine: OpenAIEngine, fake: FakeOpenAI
) -> None:
    fake.strict = True
    for _ in range(2):
        assert text_of(await answer(engine, question(top_k=7))) == "The sky is blue."
    assert ["top_k" in asked for asked in fake.asked] == [True, False, False]


@pytest.mark.parametrize(
    ("refuses", "fields"), [("tools", {"tools": [WEATHER]}), ("response_format", {"json_schema": "{}"})]
)
async def test_a_server_that_cannot_hold_a_form_leaves_it_to_another_engine(
    engine: OpenAIEngine, fake: FakeOpenAI, refuses: str, fields: dict
) -> None:
    fake.refuses = refuses
    with pytest.raises(CannotServe):
        await answer(engine, question(**fields))
    assert text_of(await answer(engine, question())) == "The sky is blue."


async def test_a_grammar_is_for_another_engine(engine: OpenAIEngine) -> None:
    with pytest.raises(CannotServe, match="grammar"):
        await answer(engine, question(grammar='root ::= "a"'))


async def test_a_context_that_is_too_small_is_told_as_that(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.status, fake.said = 400, "This model's maximum context length is 4096 tokens"
    with pytest.raises(ContextOverflow, match="4096"):
        await answer(engine, question())


async def test_a_busy_server_says_when_to_come_again(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.status = 429
    with pytest.raises(Overloaded) as caught:
        await answer(engine, question())
    assert caught.value.retry_after_s == 7.0


async def test_a_context_that_is_too_small_is_told_as_that_for_tools_too_and_asked_once(
    engine: OpenAIEngine, fake: FakeOpenAI
) -> None:
    fake.status, fake.said = 400, "This model's maximum context length is 4096 tokens"
    with pytest.raises(ContextOverflow):
        await answer(engine, question(tools=[WEATHER]))
    assert len(fake.asked) == 1


async def test_a_server_that_breaks_at_a_schema_leaves_it_to_another_engine(
    engine: OpenAIEngine, fake: FakeOpenAI
) -> None:
    fake.status = 500
    with pytest.raises(CannotServe):
        await answer(engine, question(json_schema='{"type": "object"}'))


async def test_the_usage_is_asked_for_whatever_else_a_server_refuses(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.strict = True
    for _ in range(2):
        items = await answer(engine, question(partial="Well, ", top_k=7))
        assert items[-1].usage is not None
        assert items[-1].usage.prompt_tokens == 11


async def test_a_refusal_that_is_no_text_is_a_failure_as_any_other(
    engine: OpenAIEngine, fake: FakeOpenAI, url: str
) -> None:
    fake.status, fake.page = 502, b"\xff\xfe" + b"x" * 100_000
    with pytest.raises(EngineUnavailable, match="answers 502"):
        await answer(engine, question())
    other = engine_at(url)
    with pytest.raises(EngineUnavailable, match="answers 502"):
        await other.start()
    await other.stop()


async def test_a_server_that_says_it_is_done_is_waited_for_no_longer(engine: OpenAIEngine, fake: FakeOpenAI) -> None:
    fake.stays_open = True
    items = await answer(engine, question(), deadline_s=5)
    assert (text_of(items), items[-1].finish_reason) == ("The sky is blue.", "stop")
    await fake.left.wait()
