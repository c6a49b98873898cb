"""The official `openai` client, unchanged, asks a node that has neither model: chats, texts, responses, vectors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletion

from bench.cluster import Cluster, Plan, cluster
from tests.processes.real_nodes import ONE_THREAD, tracebacks

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

HELLO = [{"role": "user", "content": "Say hello."}]
COUNT = [{"role": "user", "content": "Count from 1 to 60. Write the numbers only, separated by commas."}]
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "How warm it is.", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "What time it is."}}
WARM = [{"role": "user", "content": "How warm is it in Cuenca?"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    plans = [
        Plan("host"),
        Plan("pc1", ("cognitive",), settings=ONE_THREAD),
        Plan("pc2", ("processing",), settings=ONE_THREAD),
    ]
    async with cluster(plans) as running:
        await running.wait_capability("host", "chat", of="pc1")
        await running.wait_capability("host", "embed", of="pc2", within_s=120)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(nodes: Cluster) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with openai.AsyncOpenAI(base_url=f"{nodes['host'].url}/v1", api_key="any", max_retries=0) as connected:
        yield connected


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(client: openai.AsyncOpenAI) -> str:
    """The name of the chat model that the cluster has."""
    (name,) = [found.id async for found in client.models.list() if found.model_extra["tarsd"]["use"] == "chat"]
    return name


# --- models -----------------------------------------------------------------------------------------------------------


async def test_the_models_are_the_assistant_and_those_of_the_cluster(client):
    found = [model async for model in client.models.list()]
    told = [(model.model_extra["tarsd"]["use"], model.model_extra["tarsd"]["nodes"]) for model in found]
    assert told == [("assistant", ["pc1"]), ("chat", ["pc1"]), ("embedding", ["pc2"])]
    assert found[0].id == "tars"
    assert found[1].model_extra["max_model_len"] == 1280
    assert found[1].model_extra["tarsd"]["engines"] == ["llama_cpp"]
    assert (await client.models.retrieve(found[2].id)).id == found[2].id


async def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


# --- chats ------------------------------------------------------------------------------------------------------------


async def test_a_chat_says_the_same_whole_streamed_and_as_each_of_two_choices(client, model):
    options = {"model": model, "messages": HELLO, "max_tokens": 8, "temperature": 0, "seed": 1}
    raw = await client.chat.completions.with_raw_response.create(**options)
    assert (raw.headers["x-tarsd-node"], raw.headers["x-tarsd-engine"]) == ("pc1", "llama_cpp")
    whole = raw.parse()
    text = whole.choices[0].message.content
    assert text
    assert 0 < whole.usage.completion_tokens <= 8
    stream = await client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    twice = await client.chat.completions.create(**options, n=2)
    assert [choice.message.content for choice in twice.choices] == [text, text]
    assert twice.usage.prompt_tokens == whole.usage.prompt_tokens
    assert twice.usage.completion_tokens == 2 * whole.usage.completion_tokens


async def test_an_answer_cut_by_its_bound_says_so(client, model):
    whole = await client.chat.completions.create(model=model, messages=COUNT, max_tokens=5, temperature=0)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 5


async def test_a_begun_answer_is_continued(client, model):
    begun = [*COUNT, {"role": "assistant", "content": "1, 2, 3, 4, 5, 6,"}]
    whole = await client.chat.completions.create(model=model, messages=begun, max_tokens=9, temperature=0)
    assert whole.choices[0].message.content.startswith(" 7, 8")


async def test_a_chat_too_long_for_the_model_is_told_with_openais_code(client, model):
    long = [{"role": "user", "content": "word " * 3000}]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=model, messages=long, max_tokens=8)
    assert caught.value.code == "context_length_exceeded"


# --- tools and formats ------------------------------------------------------------------------------------------------


async def test_a_tool_that_must_be_called_is_called_with_arguments_that_fit(client, model):
    whole = await client.chat.completions.create(
        model=model, messages=WARM, tools=[WEATHER, CLOCK], tool_choice="required", max_tokens=100, temperature=0
    )
    choice = whole.choices[0]
    assert choice.finish_reason == "tool_calls"
    for call in choice.message.tool_calls:
        given = json.loads(call.function.arguments)
        assert call.id
        assert (call.function.name == "weather" and list(given) == ["city"]) or call.function.name == "clock"


async def test_the_tool_that_is_named_is_called_and_its_answer_heard(client, model):
    named = {"type": "function", "function": {"name": "weather"}}
    stream = client.chat.completions.stream(
        model=model, messages=WARM, tools=[CLOCK, WEATHER], tool_choice=named, max_tokens=100, temperature=0
    )
    async with stream as streaming:
        whole: ChatCompletion = await streaming.get_final_completion()
    (call,) = whole.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    asked = [{"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}}]
    told = [
        *WARM,
        {"role": "assistant", "content": None, "tool_calls": asked},
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"},
    ]
    heard = await client.chat.completions.create(
        model=model, messages=told, tools=[WEATHER], tool_choice="none", max_tokens=20, temperature=0
    )
    assert heard.choices[0].message.content
    assert not heard.choices[0].message.tool_calls


@pytest.mark.parametrize("seed", [1, 2])
async def test_an_answer_fits_its_schema(client, model, seed):
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PLACE}}
    whole = await client.chat.completions.create(
        model=model, messages=WARM, response_format=wanted, max_tokens=120, temperature=0.8, seed=seed
    )
    found = json.loads(whole.choices[0].message.content)
    assert (type(found["city"]), type(found["degrees"]), len(found)) == (str, int, 2)


# --- texts ------------------------------------------------------------------------------------------------------------


async def test_a_bare_text_is_continued_without_a_template(client, model):
    whole = await client.completions.create(
        model=model, prompt=["1, 2, 3, 4, 5, 6,", "a, b, c, d, e, f,"], max_tokens=6, temperature=0, echo=True
    )
    assert whole.choices[0].text.replace(" ", "").startswith("1,2,3,4,5,6,7")
    assert whole.choices[1].text.replace(" ", "").startswith("a,b,c,d,e,f,g")
    assert whole.usage.prompt_tokens < 60
    stream = await client.completions.create(
        model=model, prompt="1, 2, 3, 4, 5, 6,", max_tokens=6, temperature=0, stream=True
    )
    text = "".join([choice.text async for chunk in stream for choice in chunk.choices])
    assert text.strip().startswith("7")  # beside another prompt a close call may fall otherwise


# --- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["assistant", "model"])
async def test_a_response_says_the_same_whole_and_streamed(client, model, who):
    options = {
        "model": "tars" if who == "assistant" else model,
        "input": "Say hello.",
        "max_output_tokens": 30,
        "temperature": 0,
        "extra_body": {"seed": 1},  # with one, a prompt is computed the same way however much of it is in a cache
    }
    whole = await client.responses.create(**options)
    assert whole.output_text
    assert whole.usage.output_tokens > 0
    events = [event async for event in await client.responses.create(**options, stream=True)]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == f"response.{whole.status}"
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


async def test_a_response_cut_by_its_bound_is_incomplete(client, model):
    whole = await client.responses.create(model=model, input=COUNT[0]["content"], max_output_tokens=5, temperature=0)
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_a_response_calls_a_function(client, model):
    function = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
    whole = await client.responses.create(
        model=model,
        input=WARM,
        tools=[function],
        tool_choice="required",
        max_output_tokens=100,
        temperature=0,
    )
    calls = [item for item in whole.output if item.type == "function_call"]
    assert [call.name for call in calls][:1] == ["weather"]
    assert list(json.loads(calls[0].arguments)) == ["city"]


# --- vectors ----------------------------------------------------------------------------------------------------------


def likeness(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_that_say_the_same_have_vectors_that_are_near(client):
    name = [m.id async for m in client.models.list()][-1]
    texts = ["The boiler needs pressure.", "Check the heating's pressure.", "Cats sleep all day."]
    found = await client.embeddings.create(model=name, input=texts)  # as base64, the client's own choice
    vectors = [item.embedding for item in found.data]
    assert [len(vector) for vector in vectors] == [384] * 3
    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], vectors[2]) + 0.2
    assert 12 <= found.usage.prompt_tokens <= 24
    plain = await client.embeddings.create(model=name, input=texts[0], encoding_format="float")
    assert likeness(plain.data[0].embedding, vectors[0]) == pytest.approx(1.0, abs=1e-4)


async def test_nothing_of_this_was_a_surprise_to_any_daemon(nodes):
    assert tracebacks(nodes) == {}
