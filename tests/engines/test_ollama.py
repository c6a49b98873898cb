"""The engine `ollama`: the official client against a fake of the documented server (see fake_ollama_server)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiohttp.test_utils import TestServer

from tarsd import calls, config
from tarsd.engines import ollama as module
from tarsd.engines import remote
from tarsd.engines.ollama import OllamaEngine
from tarsd.errors import CannotServe, DeadlineExceeded, EngineUnavailable, InvalidInput, Overloaded, TarsdError
from tests.engines.conftest import answer, question, text_of
from tests.engines.fake_ollama_server import FakeOllama


@pytest.fixture
async def fake() -> FakeOllama:
    return FakeOllama()


@pytest.fixture
async def url(fake: FakeOllama) -> AsyncIterator[str]:
    async with TestServer(fake.app(), handler_cancellation=True) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def engine(url: str) -> AsyncIterator[OllamaEngine]:
    engine = OllamaEngine(config.Engine(kind="ollama", url=url, context_tokens=4096), name="ollama")
    await engine.start()
    yield engine
    await engine.stop()


async def test_an_answer_streams_named_and_counted(engine: OllamaEngine) -> None:
    items = await answer(engine, question())
    assert [item.text for item in items] == ["The", " sky", " is", " blue.", ""]
    assert (items[0].engine, items[0].model) == ("ollama", "tiny:latest")
    assert items[-1].finish_reason == "stop"
    assert items[-1].usage == calls.Usage(11, 4)


async def test_the_request_says_all_that_was_asked(engine: OllamaEngine, fake: FakeOllama) -> None:
    fake.done_reason = "length"
    asked = question(max_tokens=9, temperature=0.3, top_p=0.8, seed=4, stop=["###"], repeat_penalty=1.1)
    items = await answer(engine, asked)
    assert items[-1].finish_reason == "length"
    options = {
        "repeat_penalty": 1.1,
        "num_ctx": 2048,
        "num_predict": 9,
        "temperature": 0.3,
        "top_p": 0.8,
        "seed": 4,
        "stop": ["###"],
        "top_k": 40,
        "min_p": 0.05,
    }
    assert fake.asked[0]["options"] == options
    assert fake.asked[0]["model"] == "tiny:latest"
    assert fake.asked[0]["messages"] == [{"role": "user", "content": asked.messages[0].content}]


async def test_the_context_is_the_smaller_of_model_and_configuration(engine: OllamaEngine) -> None:
    info = engine.info()
    assert info is not None
    assert info.context_tokens == 2048


async def test_a_partial_answer_is_the_last_message_and_is_not_repeated(engine: OllamaEngine, fake: FakeOllama) -> None:
    assert text_of(await answer(engine, question(partial="The sky"))) == " is blue."
    assert fake.asked[0]["messages"][-1] == {"role": "assistant", "content": "The sky"}
    fake.words = [" is", " blue."]
    assert text_of(await answer(engine, question(partial="The sky"))) == " is blue."


@pytest.mark.parametrize(("wanted", "found"), [("", "tiny:latest"), ("tiny", "tiny:latest"), ("big:7b", "big:7b")])
async def test_the_model_is_found_by_its_name(url: str, fake: FakeOllama, wanted: str, found: str) -> None:
    fake.models = ["tiny:latest", "big:7b"]
    engine = OllamaEngine(config.Engine(kind="ollama", url=url, model=wanted), name="ollama")
    await engine.start()
    info = engine.info()
    assert info is not None
    assert info.model == found
    await engine.stop()
    assert engine.info() is None


@pytest.mark.parametrize(
    ("models", "wanted", "reason"), [(["tiny:latest"], "big", "ollama pull big"), ([], "", "has no model")]
)
async def test_a_missing_model_says_how_to_get_it(
    url: str, fake: FakeOllama, models: list[str], wanted: str, reason: str
) -> None:
    fake.models = models
    engine = OllamaEngine(config.Engine(kind="ollama", url=url, model=wanted), name="ollama")
    with pytest.raises(EngineUnavailable, match=reason):
        await engine.start()
    assert engine.info() is None
    await engine.stop()


async def test_no_server_is_an_engine_that_cannot_be_used(unused_tcp_port: int) -> None:
    engine = OllamaEngine(config.Engine(kind="ollama", url=f"http://127.0.0.1:{unused_tcp_port}"), name="ollama")
    with pytest.raises(EngineUnavailable, match="Ollama at http://127"):
        await engine.start()
    await engine.stop()


async def test_a_missing_client_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(module.importlib, "import_module", absent)
    with pytest.raises(EngineUnavailable, match="pip install ollama"):
        await OllamaEngine(config.Engine(kind="ollama"), name="ollama").start()


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, InvalidInput), (404, EngineUnavailable), (500, EngineUnavailable), (503, Overloaded), (429, Overloaded)],
)
async def test_a_refusal_means_what_its_status_means(
    engine: OllamaEngine, fake: FakeOllama, status: int, error: type[TarsdError]
) -> None:
    fake.status = status
    with pytest.raises(error) as caught:
        await answer(engine, question())
    assert type(caught.value) is error


@pytest.mark.parametrize("fault", ["error_after", "cut_after"])
async def test_a_failure_in_mid_answer_is_for_the_next_engine(
    engine: OllamaEngine, fake: FakeOllama, fault: str
) -> None:
    setattr(fake, fault, 2)
    async with aclosing(engine.generate(question(), 10)) as items:
        assert [(await anext(items)).text for _ in range(2)] == ["The", " sky"]
        with pytest.raises(EngineUnavailable):
            await anext(items)


async def test_a_stream_that_ends_without_its_last_line_was_cut_off(engine: OllamaEngine, fake: FakeOllama) -> None:
    fake.words = []
    original = fake._line
    fake._line = lambda message, **fields: b"" if fields.get("done") else original(message, **fields)  # type: ignore[method-assign]
    with pytest.raises(EngineUnavailable, match="cut the answer off"):
        await answer(engine, question())


async def test_a_silent_server_ends_at_the_deadline(engine: OllamaEngine, fake: FakeOllama) -> None:
    fake.hang_after = 1
    with pytest.raises(DeadlineExceeded):
        await answer(engine, question(), deadline_s=1.5)
    await fake.left.wait()


async def test_a_silent_server_is_given_up(url: str, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENCE_S", 1.0)
    fake.hang_after = 1
    engine = OllamaEngine(config.Engine(kind="ollama", url=url), name="ollama")
    await engine.start()
    with pytest.raises(EngineUnavailable, match="ReadTimeout"):
        await answer(engine, question())
    await engine.stop()


async def test_closing_an_answer_closes_the_request(engine: OllamaEngine, fake: FakeOllama) -> None:
    fake.hang_after = 1
    async with aclosing(engine.generate(question(), 10)) as items:
        await anext(items)
    await fake.left.wait()


WEATHER = calls.Tool("weather", "Weather of a city", '{"type": "object", "properties": {"city": {"type": "string"}}}')


async def test_tools_go_there_and_calls_come_back(engine: OllamaEngine, fake: FakeOllama) -> None:
    fake.words = []
    fake.calls = [{"function": {"name": "weather", "arguments": {"city": "Málaga"}}}]
    earlier = calls.Message("assistant", "", tool_calls=[calls.ToolCall("c1", "weather", '{"city": "León"}')])
    answered = calls.Message("tool", "sunny", tool_call_id="c1", name="weather")
    messages = [calls.Message("user", "And in Málaga?"), earlier, answered]
    items = await answer(engine, calls.ChatRequest(messages, tools=[WEATHER]))
    assert items[-1].finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in items[-1].tool_calls] == [("weather", '{"city": "Málaga"}')]
    asked = fake.asked[0]
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert asked["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "León"}
    assert asked["messages"][2]["tool_name"] == "weather"


@pytest.mark.parametrize(("schema", "sent"), [("{}", "json"), ('{"type": "object"}', {"type": "object"})])
async def test_a_schema_is_its_format(engine: OllamaEngine, fake: FakeOllama, schema: str, sent: object) -> None:
    await answer(engine, question(json_schema=schema, keep_alive_s=60.0))
    assert fake.asked[0]["format"] == sent
    assert fake.asked[0]["keep_alive"] == 60.0


async def test_a_bare_prompt_goes_without_template(engine: OllamaEngine, fake: FakeOllama) -> None:
    items = await answer(engine, question(messages=[], prompt="Why is", partial=" the"))
    assert text_of(items) == "The sky is blue."
    assert (fake.asked[0]["raw"], fake.asked[0]["prompt"]) == (True, "Why is the")


@pytest.mark.parametrize("fields", [{"grammar": 'root ::= "a"'}, {"tools": [WEATHER], "tool_choice": "required"}])
async def test_what_it_cannot_be_held_to_is_for_another_engine(engine: OllamaEngine, fields: dict) -> None:
    with pytest.raises(CannotServe):
        await answer(engine, question(**fields))


async def test_a_call_whose_arguments_are_no_object_is_for_another_engine(engine: OllamaEngine) -> None:
    earlier = calls.Message("assistant", "", tool_calls=[calls.ToolCall("c1", "weather", "Madrid")])
    with pytest.raises(CannotServe, match=r"^messages: "):
        await answer(engine, calls.ChatRequest([earlier, calls.Message("user", "And now?")], tools=[WEATHER]))
