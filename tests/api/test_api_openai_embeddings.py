"""Vectors by the official client; the embedding model is scripted."""

from __future__ import annotations

import struct

import aiohttp
import openai
import pytest

from tarsd.api.vectors import LOT_CHARACTERS, lots
from tarsd.calls import EmbedItem
from tarsd.errors import Unavailable
from tarsd.gossip.member import State
from tarsd.names import Capability
from tests.api.scripted_services import MEMBERS, member

EMBEDS = {Capability("embed"): {"model": "mini-lm"}}
OTHER = {Capability("embed"): {"model": "other-e5"}}
CLUSTER = (
    *MEMBERS,
    member("pc4", capabilities=EMBEDS),
    member("pc5", capabilities=OTHER),
    member("pc6", capabilities={Capability("embed"): {"model": "gone-e5"}}, state=State.DEAD),
)


def vectors(request):
    """Vectors that tell the length of each text."""
    made = [struct.pack("<2f", len(text), 0.5) for text in request.texts]
    return [EmbedItem(made, "mini-lm", 2, sum(len(text) for text in request.texts))]


@pytest.fixture
async def served(serve):
    return await serve(replies={"embed": vectors}, members=lambda: CLUSTER)


async def embed(client, given, **options):
    return await client.embeddings.create(**({"model": "mini-lm", "input": given} | options))


async def test_texts_become_vectors_in_their_order(served, connect):
    found = await embed(connect(served), ["ab", "abcd"])
    assert [(item.index, item.embedding) for item in found.data] == [(0, [2.0, 0.5]), (1, [4.0, 0.5])]
    assert (found.model, found.object) == ("mini-lm", "list")
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (6, 6)


async def test_one_text_is_a_list_of_one(served, connect):
    assert [item.embedding for item in (await embed(connect(served), "abc")).data] == [[3.0, 0.5]]


async def test_vectors_come_as_numbers_or_as_their_bytes(served):
    found = {}
    for wanted in ("float", "base64", None):
        body = {"model": "mini-lm", "input": "abc"} | ({"encoding_format": wanted} if wanted else {})
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{served.url}/v1/embeddings", json=body) as response,
        ):
            found[wanted] = (await response.json())["data"][0]["embedding"]
            assert response.headers["x-tarsd-node"] == "pc2"
    assert found == {"float": [3.0, 0.5], None: [3.0, 0.5], "base64": "AABAQAAAAD8="}


async def test_only_nodes_with_that_model_are_asked(served, connect):
    await embed(connect(served), "abc")
    _, _, options = served.dispatch.calls[0]
    assert {m.name for m in CLUSTER if m.node not in options["exclude"]} == {"pc4"}


@pytest.mark.parametrize(("given", "told"), [({}, "passage"), ({"input_type": "query"}, "query")])
async def test_what_a_text_is_for_is_told_to_the_model(served, connect, given, told):
    await embed(connect(served), "abc", extra_body=given)
    assert served.dispatch.calls[0][1].purpose == told


async def test_many_texts_go_in_lots_and_come_back_as_one(served, connect):
    texts = ["x" * (1 + number % 9) for number in range(600)]
    found = await embed(connect(served), texts)
    assert [item.embedding[0] for item in found.data] == [len(text) for text in texts]
    assert [len(request.texts) for _, request, _ in served.dispatch.calls] == [256, 256, 88]
    assert found.usage.prompt_tokens == sum(map(len, texts))


def test_a_lot_has_no_more_text_than_a_call_can_do_in_time():
    half = "x" * (LOT_CHARACTERS // 2)
    assert [len(lot) for lot in lots([half, half, "y", half * 3, "z"])] == [2, 1, 1, 1]
    assert [len(lot) for lot in lots([half * 3])] == [1]
    assert list(lots([])) == []


@pytest.mark.parametrize(
    ("given", "options", "param"),
    [
        ("", {}, "input"),
        (["a", ""], {}, "input[1]"),
        ([], {}, "input"),
        ([1, 2], {}, "input[0]"),
        ([[1, 2]], {}, "input[0]"),
        (["a"] * 2049, {}, "input"),
        ("a", {"dimensions": 3}, "dimensions"),
        ("a", {"encoding_format": "int8"}, "encoding_format"),
        ("a", {"extra_body": {"input_type": "title"}}, "input_type"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(served, connect, given, options, param):
    with pytest.raises(openai.BadRequestError) as caught:
        await embed(connect(served), given, **options)
    assert caught.value.param == param


async def test_the_models_own_dimensions_may_be_asked_for(served, connect):
    assert len((await embed(connect(served), "a", dimensions=2)).data) == 1


@pytest.mark.parametrize("name", ["text-embedding-3-small", "tiny-model", "tars", "gone-e5"])
async def test_only_a_real_name_of_an_embedding_model_is_taken(served, connect, name):
    with pytest.raises(openai.NotFoundError, match="there is mini-lm, other-e5") as caught:
        await embed(connect(served), "a", model=name)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_a_model_that_is_away_is_503(serve, connect):
    served = await serve(replies={"embed": [Unavailable("the worker is loading")]}, members=lambda: CLUSTER)
    with pytest.raises(openai.InternalServerError, match="the worker is loading") as caught:
        await embed(connect(served), "a")
    assert caught.value.status_code == 503


async def test_the_models_list_tells_what_each_is_for_and_who_has_it(serve, connect):
    chats = {Capability("chat"): {"model": "tiny-model", "engine": "llama_cpp", "context_tokens": 8192}}
    smaller = {
        Capability("chat"): {"model": "big", "engine": "ollama", "context_tokens": 4096, "models": ["tiny-model"]}
    }
    away = member("pc9", state=State.DEAD, capabilities=chats)
    lost = member("pc8", state=State.DEAD, capabilities=EMBEDS)
    there = (member("pc1", capabilities=chats), member("pc3", capabilities=smaller), away, lost, *CLUSTER[-3:])
    client = connect(await serve(members=lambda: there, models=lambda: ["big", "tiny-model"]))
    found = {model.id: model.model_extra async for model in client.models.list()}
    assert list(found) == ["tars", "big", "tiny-model", "mini-lm", "other-e5"]
    assert found["tars"] == {
        "max_model_len": 4096,
        "tarsd": {"use": "assistant", "nodes": ["pc1", "pc3"], "engines": ["llama_cpp", "ollama"]},
    }
    assert found["tiny-model"]["tarsd"]["nodes"] == ["pc1", "pc3"]  # the other one loads it on demand
    assert found["big"] == {
        "max_model_len": 4096,
        "tarsd": {"use": "chat", "nodes": ["pc3"], "engines": ["ollama"]},
    }
    assert found["mini-lm"] == {"tarsd": {"use": "embedding", "nodes": ["pc4"], "engines": []}}
    one = await client.models.retrieve("mini-lm")
    assert one.model_extra == found["mini-lm"]
