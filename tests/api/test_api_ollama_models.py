"""Ollama's lists of models and its vectors, by the official client; what is known of a cluster is scripted."""

from __future__ import annotations

import array
import math
from datetime import UTC, datetime, timedelta

import aiohttp
import ollama
import pytest

from tarsd.api.ollama_embed import cut
from tarsd.api.ollama_models import parameter_size
from tarsd.calls import EmbedItem, Model, ModelsItem
from tarsd.errors import Unavailable
from tarsd.gossip.member import State
from tarsd.names import Capability
from tests.api.scripted_services import member

TINY = Model(
    "tiny-model",
    "loaded",
    sha256="ab" * 32,
    size_bytes=98_000_000,
    engine="llama_cpp",
    context_tokens=8192,
    architecture="llama",
    parameters=134_515_008,
    quantization="Q4_1",
    memory_bytes=222_000_000,
    expires_s=300.0,
    modified_at=1_700_000_000.0,
    template="{{ messages }}",
    can_use_tools=True,
)
CHAT = {"model": "tiny-model", "engine": "llama_cpp", "context_tokens": 4096, "models": ["tiny-model", "later"]}
PC1 = member("pc1", is_self=True, capabilities={Capability("chat"): CHAT})
PC2 = member("pc2", capabilities={Capability("chat"): CHAT, Capability("models"): {}})
PC3 = member("pc3", capabilities={Capability("embed"): {"model": "mini-lm"}})
GONE = member("pc4", state=State.DEAD, capabilities={Capability("chat"): {"model": "lost"}})


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


def vector(*numbers):
    return array.array("f", numbers).tobytes()


async def test_tags_lists_what_every_node_has_with_a_tag(serve, connect):
    models = ModelsItem([TINY, Model("broken", "failed"), Model("in-the-catalog", "absent")])
    served = await serve(replies={"models": [models]}, members=lambda: (PC1, PC2, PC3, GONE))
    listed = {model.model: model for model in (await connect(served).list()).models}
    assert list(listed) == ["tars:latest", "tiny-model:latest", "later:latest", "mini-lm:latest"]
    tiny = listed["tiny-model:latest"]
    assert (tiny.size, tiny.digest) == (98_000_000, "ab" * 32)
    assert tiny.modified_at == datetime.fromtimestamp(1_700_000_000, UTC)
    details = tiny.details
    assert (details.format, details.family, details.parameter_size, details.quantization_level) == (
        "gguf",
        "llama",
        "134.52M",
        "Q4_1",
    )


async def test_a_node_that_does_not_tell_is_known_by_its_advert(serve, connect):
    served = await serve(replies={"models": [Unavailable("pc2 is busy")]}, members=lambda: (PC2,))
    names = [model.model for model in (await connect(served).list()).models]
    assert names == ["tars:latest", "tiny-model:latest", "later:latest"]
    assert [(name, options["only"]) for name, _, options in served.dispatch.calls] == [("models", PC2.node)]


async def test_a_model_of_several_nodes_is_listed_once_with_all_of_them(serve):
    served = await serve(replies={"models": [ModelsItem([TINY])]}, members=lambda: (PC1, PC2))
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/api/tags") as response:
        listed = {model["name"]: model for model in (await response.json())["models"]}
    assert listed["tiny-model:latest"]["tarsd"]["nodes"] == ["pc1", "pc2"]
    assert listed["later:latest"]["tarsd"]["state"] == "present"


async def test_the_account_of_who_has_it_loaded_goes_first(serve, connect):
    own = member("pc1", is_self=True, capabilities={Capability("chat"): {"model": "x", "models": ["tiny-model"]}})
    served = await serve(replies={"models": [ModelsItem([TINY])]}, members=lambda: (own, PC2))
    listed = {model.model: model for model in (await connect(served).list()).models}
    assert listed["tiny-model:latest"].size == 98_000_000


async def test_ps_lists_what_is_in_memory_and_until_when(serve, connect):
    models = ModelsItem([TINY, Model("stays", "loaded"), Model("on-disk", "present")])
    served = await serve(replies={"models": [models]}, members=lambda: (PC2, PC3))
    running = {model.model: model for model in (await connect(served).ps()).models}
    assert list(running) == ["tiny-model:latest", "stays:latest", "mini-lm:latest"]
    tiny = running["tiny-model:latest"]
    assert (tiny.size, tiny.context_length) == (222_000_000, 8192)
    now = datetime.now(UTC)
    assert timedelta(minutes=4) < tiny.expires_at - now < timedelta(minutes=6)
    assert running["stays:latest"].expires_at - now > timedelta(days=30_000)


async def test_show_tells_what_is_known_of_a_model(serve, connect):
    served = await serve(replies={"models": [ModelsItem([TINY])]}, members=lambda: (PC2, PC3))
    client = connect(served)
    shown = await client.show("tiny-model")
    assert shown.modelinfo == {
        "general.architecture": "llama",
        "general.parameter_count": 134_515_008,
        "llama.context_length": 8192,
    }
    assert (shown.template, shown.capabilities) == ("{{ messages }}", ["completion", "tools"])
    assert (await client.show("mini-lm:latest")).capabilities == ["embedding"]
    assert (await client.show("tars")).capabilities == ["completion"]
    with pytest.raises(ollama.ResponseError) as caught:
        await client.show("gpt-9")
    assert (caught.value.status_code, caught.value.error) == (404, "model 'gpt-9' not found")


async def test_the_version_is_of_the_api_that_is_followed(serve):
    served = await serve()
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/api/version") as response:
        told = await response.json()
    assert tuple(int(part) for part in told["version"].split(".")) >= (0, 6, 4)  # what editors ask for
    assert told["tarsd"] == "0.1.0"


async def test_vectors_come_from_who_makes_them_in_the_order_of_the_texts(serve, connect):
    items = [EmbedItem([vector(1.0, 0.0), vector(0.0, 1.0)], "mini-lm", 2)]
    served = await serve(replies={"embed": items}, members=lambda: (PC1, PC3))
    reply = await connect(served).embed("mini-lm:latest", ["one", "two"])
    assert reply.embeddings == [[1.0, 0.0], [0.0, 1.0]]
    _, request, options = served.dispatch.calls[0]
    assert (request.texts, options["exclude"]) == (["one", "two"], frozenset({PC1.node}))


async def test_one_text_and_none_have_their_vectors_too(serve, connect):
    served = await serve(replies={"embed": [EmbedItem([vector(1.0)], "mini-lm", 1)]}, members=lambda: (PC3,))
    client = connect(served)
    assert (await client.embed("mini-lm", "one")).embeddings == [[1.0]]
    assert (await client.embeddings("mini-lm", "one")).embedding == [1.0]
    assert (await client.embed("mini-lm", "")).embeddings == []
    assert (await client.embeddings("mini-lm", "")).embedding == []
    assert len(served.dispatch.calls) == 2


async def test_more_texts_than_a_call_takes_are_several_calls(serve, connect):
    served = await serve(replies={"embed": [EmbedItem([vector(1.0)] * 256, "mini-lm", 1)]}, members=lambda: (PC3,))
    reply = await connect(served).embed("mini-lm", ["x"] * 512)
    assert len(reply.embeddings) == 512
    assert [len(request.texts) for _, request, _ in served.dispatch.calls] == [256, 256]


async def test_a_call_that_lacks_vectors_is_no_answer(serve, connect):
    served = await serve(replies={"embed": [EmbedItem([vector(1.0)], "mini-lm", 1)]}, members=lambda: (PC3,))
    with pytest.raises(ollama.ResponseError, match="1 vectors for 2 texts"):
        await connect(served).embed("mini-lm", ["one", "two"])


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"model": "gpt-9"}, 404, "model 'gpt-9' not found"),
        ({"model": "tiny-model"}, 400, "model: 'tiny-model' makes no vectors; there is mini-lm"),
        ({"truncate": False}, 400, "truncate: only true is supported here"),
        ({"dimensions": 0}, 400, "dimensions: Expected `int` >= 1"),
    ],
)
async def test_what_makes_no_vectors_is_refused_by_name(serve, connect, changes, status, sentence):
    served = await serve(members=lambda: (PC1, PC3))
    with pytest.raises(ollama.ResponseError) as caught:
        await connect(served).embed(**({"model": "mini-lm", "input": "x"} | changes))
    assert (caught.value.status_code, caught.value.error) == (status, sentence)
    assert served.dispatch.calls == []


def test_a_shorter_vector_has_the_length_1_again():
    short = cut([0.6, 0.0, 0.8], 2)
    assert short == [1.0, 0.0]
    assert math.hypot(*cut([0.5, 0.5, 0.5, 0.5], 3)) == pytest.approx(1.0)
    assert cut([0.6, 0.8], None) == cut([0.6, 0.8], 5) == [0.6, 0.8]
    assert cut([0.0, 1.0], 1) == [0.0]


def test_numbers_of_parameters_are_written_as_ollama_does():
    assert [parameter_size(n) for n in (134_515_008, 7_200_000_000, 22_700, 0)] == ["134.52M", "7.2B", "22.70K", ""]
