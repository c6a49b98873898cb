"""The official `ollama` and `anthropic` clients, unchanged, against real daemons with real models.

They ask pc2, which generates nothing: each answer comes from pc1, and each vector from pc2.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import anthropic
import ollama
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tests.processes.real_nodes import COUNT, MAX_TOKENS, NOTES, ONE_THREAD, last_item, tracebacks

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

ASK = [{"role": "user", "content": COUNT}]  # so that an answer is the same again, be its prompt in a cache or not
SURE = {"temperature": 0, "num_predict": 12}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    plans = [
        Plan("pc1", ("cognitive",), settings=ONE_THREAD),
        Plan("pc2", ("processing", "orchestrator", "monitoring"), settings=ONE_THREAD),
    ]
    async with cluster(plans) as running:
        await running.wait_capability("pc2", "chat", of="pc1")
        await running.wait_capability("pc1", "embed", of="pc2", within_s=120)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models(nodes) -> dict[str, str]:
    """The name of the model that chats, and of the one that makes vectors."""
    found = {}
    for member in (await nodes.clients["pc2"].members()).values():
        for capability in ("chat", "embed"):
            if capability in member["capabilities"]:
                found[capability] = member["capabilities"][capability]["model"]
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def ollama_client(nodes) -> AsyncGenerator[ollama.AsyncClient, None]:
    client = ollama.AsyncClient(host=nodes["pc2"].url)
    yield client
    await client.close()


@pytest_asyncio.fixture(loop_scope="module")
async def anthropic_client(nodes) -> AsyncGenerator[anthropic.AsyncAnthropic, None]:
    async with anthropic.AsyncAnthropic(base_url=nodes["pc2"].url, api_key="any", max_retries=0) as client:
        yield client


# --- ollama -----------------------------------------------------------------------------------------------------------


async def test_ollama_chats_whole_and_streamed_with_the_same_text(ollama_client, models):
    whole = await ollama_client.chat(models["chat"], ASK, options=SURE)
    assert whole.message.content
    assert 0 < whole.eval_count <= 12
    assert whole.prompt_eval_count > 10
    assert whole.total_duration >= whole.eval_duration > 0
    stream = await ollama_client.chat(models["chat"], ASK, options=SURE, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.message.content for chunk in chunks) == whole.message.content
    assert len(chunks) > 3
    assert (chunks[-1].done, chunks[-1].done_reason, chunks[-1].eval_count) == (
        True,
        whole.done_reason,
        whole.eval_count,
    )


async def test_an_answer_that_is_cut_says_so(ollama_client, models):
    story = [{"role": "user", "content": "Tell me a long story about a lighthouse keeper."}]
    cut = await ollama_client.chat(models["chat"], story, options=SURE)
    assert (cut.done_reason, cut.eval_count) == ("length", 12)
    free = await ollama_client.chat(models["chat"], story, options={"temperature": 0, "num_predict": -1})
    assert 12 < free.eval_count <= MAX_TOKENS


async def test_ollama_generates_from_a_prompt(ollama_client, models):
    reply = await ollama_client.generate(models["chat"], "Say hello to Ana.", system="Be brief.", options=SURE)
    assert reply.response
    parts = [part async for part in await ollama_client.generate(models["chat"], "Hi", options=SURE, stream=True)]
    assert "".join(part.response for part in parts)
    assert parts[-1].done


async def test_ollama_loads_a_model(ollama_client, models):
    assert (await ollama_client.generate(models["chat"], keep_alive="5m")).done_reason == "load"


async def test_ollama_stops_at_a_text(ollama_client, models):
    whole = await ollama_client.chat(models["chat"], ASK, options=SURE)
    word = whole.message.content.split()[-1]
    stopped = await ollama_client.chat(models["chat"], ASK, options=SURE | {"stop": [word]})
    assert stopped.done_reason == "stop"
    assert stopped.message.content == whole.message.content[: whole.message.content.index(word)]


async def test_ollama_embeds(ollama_client, models):
    texts = ["The boiler keeps 1.5 bar.", "Pressure of the boiler", "A cake with apples"]
    found = (await ollama_client.embed(models["embed"], texts)).embeddings
    near, far = (sum(a * b for a, b in zip(found[0], other, strict=True)) for other in found[1:])
    assert near > far
    assert sum(number * number for number in found[0]) == pytest.approx(1.0, abs=1e-3)
    short = (await ollama_client.embed(models["embed"], texts[0], dimensions=64)).embeddings[0]
    assert (len(short), sum(number * number for number in short)) == (64, pytest.approx(1.0))
    old = await ollama_client.embeddings(models["embed"], texts[0])
    assert list(old.embedding) == pytest.approx(list(found[0]), abs=1e-3)


async def test_ollama_lists_shows_and_knows_what_runs(ollama_client, models):
    listed = [model.model for model in (await ollama_client.list()).models]
    assert {"tars:latest", f"{models['chat']}:latest", f"{models['embed']}:latest"} <= set(listed)
    assert f"{models['chat']}:latest" in [model.model for model in (await ollama_client.ps()).models]
    shown = await ollama_client.show(f"{models['chat']}:latest")
    assert "completion" in shown.capabilities
    assert any(name.endswith(".context_length") for name in shown.modelinfo)
    with pytest.raises(ollama.ResponseError) as caught:
        await ollama_client.chat("gpt-9", ASK)
    assert caught.value.status_code == 404


async def test_ollama_asks_the_assistant_who_knows_the_documents(nodes, ollama_client):
    assert (await last_item(nodes.clients["pc2"], NOTES))["stage"] in ("done", "duplicate")
    reply = await ollama_client.chat("tars", [{"role": "user", "content": "What is the Wi-Fi called?"}], options=SURE)
    assert reply.message.content
    assert reply.done_reason in ("stop", "length")


async def test_ollama_gets_json_that_fits_its_schema(ollama_client, models):
    about = [{"role": "user", "content": "Ana is 31 years old. Tell name and age as JSON."}]
    options = {"temperature": 0, "num_predict": 80}
    reply = await ollama_client.chat(models["chat"], about, format=PERSON, options=options)
    assert set(json.loads(reply.message.content)) == {"name", "age"}


async def test_ollama_continues_a_raw_prompt(ollama_client, models):
    reply = await ollama_client.generate(models["chat"], "One, two, three, four,", raw=True, options=SURE)
    assert reply.response
    assert reply.prompt_eval_count < 20  # no template around it


# --- anthropic --------------------------------------------------------------------------------------------------------


async def test_anthropic_answers_whole_and_streamed_with_the_same_text(anthropic_client, models):
    asked = {"model": models["chat"], "max_tokens": 12, "messages": ASK, "extra_body": {"temperature": 0}}
    whole = await anthropic_client.messages.create(**asked)
    assert whole.content[0].text
    assert whole.usage.input_tokens + whole.usage.cache_read_input_tokens > 10
    assert 0 < whole.usage.output_tokens <= 12
    assert whole.model_extra["tarsd"]["generated_by"] == "pc1"
    async with anthropic_client.messages.stream(**asked) as stream:
        message = await stream.get_final_message()
    assert message.content[0].text == whole.content[0].text
    assert message.stop_reason == whole.stop_reason


async def test_anthropic_continues_the_answers_beginning(anthropic_client, models):
    begun = [*ASK, {"role": "assistant", "content": "1, 2, 3,"}]
    message = await anthropic_client.messages.create(
        model=models["chat"], max_tokens=8, messages=begun, extra_body={"temperature": 0}
    )
    assert message.content[0].text.lstrip().startswith("4, 5")


async def test_anthropic_is_told_which_sequence_ended_an_answer(anthropic_client, models):
    asked = {"model": models["chat"], "max_tokens": 12, "messages": ASK, "extra_body": {"temperature": 0}}
    whole = (await anthropic_client.messages.create(**asked)).content[0].text
    word = whole.split()[1]
    stopped = await anthropic_client.messages.create(**asked, stop_sequences=["never said", word])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)


async def test_anthropic_gets_a_tool_called(anthropic_client, models):
    tool = {"name": "weather", "description": "The weather of a city", "input_schema": PARAMETERS}
    message = await anthropic_client.messages.create(
        model=models["chat"],
        max_tokens=120,
        messages=[{"role": "user", "content": "What is the weather in Lima?"}],
        tools=[tool],
        tool_choice={"type": "tool", "name": "weather"},
        extra_body={"temperature": 0},
    )
    assert message.stop_reason == "tool_use"
    (called,) = [block for block in message.content if block.type == "tool_use"]
    assert (called.name, list(called.input)) == ("weather", ["city"])


async def test_no_daemon_met_an_error_nobody_thought_of(nodes):
    assert tracebacks(nodes) == {}
