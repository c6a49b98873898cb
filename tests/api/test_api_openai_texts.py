"""Bare texts continued, by the official client; the models are scripted."""

from __future__ import annotations

import openai
import pytest
from openai.types import Completion

from tarsd.calls import ChatItem, Usage
from tarsd.errors import PeerLost


def goes_on(request):
    ends = {"finish_reason": "length", "usage": Usage(len(request.prompt), 2, 1)}
    words = f" and {request.prompt.lower()}" + (f" {request.seed}" if request.seed is not None else "")
    return [ChatItem(engine="llama_cpp", model="tiny-model"), ChatItem(text=words), ChatItem(text=".", **ends)]


@pytest.fixture
async def client(serve, connect):
    served = await serve(replies={"chat": goes_on})
    connected = connect(served)
    connected.dispatch = served.dispatch
    return connected


async def complete(client, **options):
    return await client.completions.create(**({"model": "tiny-model", "prompt": "Salt"} | options))


async def test_a_bare_text_goes_to_the_model_without_a_template(client):
    whole = await complete(client, max_tokens=9, temperature=0, stop="\n")
    ((_, request, _),) = client.dispatch.calls
    assert (request.prompt, request.messages) == ("Salt", [])
    assert (request.max_tokens, request.temperature, request.stop) == (9, 0, ["\n"])
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == (" and salt.", "length")
    assert (whole.object, whole.usage.total_tokens) == ("text_completion", 6)
    assert whole.usage.prompt_tokens_details.cached_tokens == 1
    Completion.model_validate(whole.model_dump(), strict=True)


async def test_without_a_bound_it_is_openais_own_16_tokens(client):
    await complete(client)
    assert client.dispatch.calls[0][1].max_tokens == 16


async def test_the_headers_say_who_generated(client):
    raw = await client.completions.with_raw_response.create(model="tiny-model", prompt="Salt")
    assert (raw.headers["x-tarsd-node"], raw.headers["x-tarsd-engine"]) == ("pc2", "llama_cpp")


async def test_several_texts_several_times_are_numbered_text_by_text(client):
    whole = await complete(client, prompt=["Salt", "Oil"], n=2, seed=5)
    assert [(choice.index, choice.text) for choice in whole.choices] == [
        (0, " and salt 5."),
        (1, " and salt 6."),
        (2, " and oil 5."),
        (3, " and oil 6."),
    ]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4 + 3, 8)  # each text is counted once


async def test_echo_begins_each_text_with_its_prompt(client):
    whole = await complete(client, prompt=["Salt", "Oil"], echo=True)
    assert [choice.text for choice in whole.choices] == ["Salt and salt.", "Oil and oil."]


@pytest.mark.parametrize("echo", [False, True])
async def test_texts_are_streamed(client, echo):
    stream = await complete(
        client, prompt=["Salt", "Oil"], echo=echo, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts, reasons = ["", ""], []
    for choice in [choice for chunk in chunks for choice in chunk.choices]:
        texts[choice.index] += choice.text
        reasons += [(choice.index, choice.finish_reason)] if choice.finish_reason else []
    assert texts == (["Salt and salt.", "Oil and oil."] if echo else [" and salt.", " and oil."])
    assert sorted(reasons) == [(0, "length"), (1, "length")]
    assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], 7)
    assert {(chunk.object, chunk.id) for chunk in chunks} == {("text_completion", chunks[0].id)}


async def test_without_include_usage_no_chunk_has_usage(client):
    chunks = [chunk async for chunk in await complete(client, stream=True)]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_a_stream_that_breaks_ends_in_an_error(serve, connect):
    items = [ChatItem(text=" and", engine="llama_cpp", model="tiny-model"), PeerLost("pc2 went away")]
    stream = await complete(connect(await serve(replies={"chat": items})), stream=True)
    with pytest.raises(openai.APIError, match="pc2 went away"):
        [chunk async for chunk in stream]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": "tars"}, "model"),
        ({"suffix": "end"}, "suffix"),
        ({"logprobs": 0}, "logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"best_of": 3}, "best_of"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt[0]"),
        ({"prompt": ["a", [1]]}, "prompt[1]"),
        ({"prompt": ["a"] * 3, "n": 3}, "prompt"),
        ({"n": 9}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(client, changes, param):
    with pytest.raises(openai.BadRequestError) as caught:
        await complete(client, **changes)
    assert caught.value.param == param
    assert client.dispatch.calls == []


async def test_best_of_as_many_as_are_given_back_is_no_wish(client):
    assert len((await complete(client, n=2, best_of=2)).choices) == 2


async def test_an_unknown_model_is_told_as_openai_does(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await complete(client, model="gpt-9")
    assert caught.value.code == "model_not_found"
