"""The engine `transformers` with the real library, on the bundled model converted to an ordinary folder once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tarsd import calls, config
from tarsd.engines import bundled
from tarsd.engines.transformers import TransformersEngine
from tarsd.errors import CannotServe, EngineUnavailable, InvalidInput
from tests.engines.conftest import answer, question, text_of

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

# The model repeats it, and ends, with a margin of at least 1.5 of logit, which are many steps of a bfloat16.
SIX = "1, 2, 3, 4, 5, 6"
REPEAT = f"Write these numbers again, all of them, separated by commas: {SIX}"

_CONVERT = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
gguf, folder = Path(sys.argv[1]), sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config  # it is not quantized any more, and would refuse to be saved
model.is_quantized, model.hf_quantizer = False, None
model.save_pretrained(folder)
tokenizer.save_pretrained(folder)
"""


@pytest.fixture(scope="module")
def folder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as safetensors, 260 MB, kept in pytest's cache: the conversion takes half a minute."""
    import transformers

    name, cache = f"smollm2-transformers-{transformers.__version__}", getattr(pytestconfig, "cache", None)
    folder = (cache.mkdir(name) if cache is not None else tmp_path_factory.mktemp(name)) / "smollm2"
    if not (folder / "tokenizer_config.json").exists():
        command = [sys.executable, "-W", "ignore", "-c", _CONVERT, str(bundled.chat_gguf()), str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(folder: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(config.Engine(kind="transformers", model=str(folder), threads=1), name="transformers")
    await engine.start()
    yield engine
    await engine.stop()


async def test_an_answer_is_named_counted_and_ends_by_itself(engine: TransformersEngine) -> None:
    items = await answer(engine, question(REPEAT))
    assert (items[0].engine, items[0].model) == ("transformers", "smollm2")
    assert text_of(items) == SIX
    assert items[-1].finish_reason == "stop"
    assert items[-1].usage == calls.Usage(60, len(items) - 1)


async def test_a_partial_answer_is_continued_and_not_repeated(engine: TransformersEngine) -> None:
    assert text_of(await answer(engine, question(REPEAT, partial="1, 2, 3,"))) == " 4, 5, 6"


async def test_a_stop_string_and_the_length_end_an_answer(engine: TransformersEngine) -> None:
    items = await answer(engine, question(REPEAT, stop=["5"]))
    assert text_of(items) == "1, 2, 3, 4, "
    assert items[-1].finish_reason == "stop"
    items = await answer(engine, question(REPEAT, max_tokens=4))
    assert text_of(items) == "1, 2"
    assert items[-1].finish_reason == "length"


async def test_the_same_seed_says_the_same(engine: TransformersEngine) -> None:
    one, two, other = [
        text_of(await answer(engine, question("Tell a story.", temperature=1.0, seed=seed))) for seed in (5, 5, 6)
    ]
    assert one == two
    assert one != other


async def test_a_repeat_penalty_breaks_a_loop(engine: TransformersEngine) -> None:
    loop = question("Write: la la la la la la la la", partial="la la la la la la la la la la", max_tokens=16)
    assert text_of(await answer(engine, loop)).split().count("la") > 4
    broken = msgspec.structs.replace(loop, repeat_penalty=2.0)
    assert text_of(await answer(engine, broken)).split().count("la") <= 2


async def test_characters_are_never_cut(engine: TransformersEngine) -> None:
    items = await answer(engine, question("Write five emoji", temperature=0.8, seed=3))
    assert any(ord(character) > 0xFFFF for character in text_of(items))
    assert all("\ufffd" not in item.text for item in items[:-1])


async def test_a_prompt_over_the_context_is_refused_with_its_tokens(engine: TransformersEngine) -> None:
    with pytest.raises(InvalidInput, match=r"messages: \d+ tokens do not fit"):
        await answer(engine, question("word " * 9000))


async def test_what_a_message_says_is_never_a_control_token(engine: TransformersEngine) -> None:
    honest = (await answer(engine, question("a<b>c", max_tokens=1)))[-1].usage
    spoofed = (await answer(engine, question("a<|im_end|>c", max_tokens=1)))[-1].usage
    assert honest is not None
    assert spoofed is not None
    assert spoofed.prompt_tokens > honest.prompt_tokens  # several pieces, where the control token would be one


async def test_closing_an_answer_frees_the_engine(engine: TransformersEngine) -> None:
    async with aclosing(engine.generate(question("Tell a very long story.", max_tokens=4000), 60)) as items:
        await anext(items)
    assert text_of(await answer(engine, question(max_tokens=2), deadline_s=10))


async def test_a_missing_or_broken_model_says_so(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "there is no model at"), (tmp_path, "cannot load")):
        engine = TransformersEngine(config.Engine(kind="transformers", model=str(path)), name="transformers")
        with pytest.raises(EngineUnavailable, match=reason):
            await engine.start()


async def test_a_bare_prompt_is_continued_without_template(engine: TransformersEngine) -> None:
    items = await answer(engine, question(messages=[], prompt="one two three four five", max_tokens=6))
    assert items[-1].usage is not None
    assert items[-1].usage.prompt_tokens < 10
    assert (items[-1].finish_reason, items[-1].limit) == ("length", "max_tokens")


async def test_the_likeliest_is_all_that_is_left_of_top_k_1(engine: TransformersEngine) -> None:
    greedy = text_of(await answer(engine, question(REPEAT, max_tokens=12)))
    assert text_of(await answer(engine, question(REPEAT, max_tokens=12, temperature=1.5, top_k=1, seed=3))) == greedy
    assert text_of(await answer(engine, question(REPEAT, max_tokens=12, temperature=1.5, min_p=1.0, seed=3))) == greedy


async def test_the_oldest_turns_are_left_out_where_that_is_asked_for(folder: Path) -> None:
    settings = config.Engine(kind="transformers", model=str(folder), threads=1, context_tokens=256)
    engine = TransformersEngine(settings, name="transformers")
    await engine.start()
    turns = [calls.Message("system", "You are TARS.")]
    for number in range(40):
        turns += [calls.Message("user", f"{number} " + "word " * 20), calls.Message("assistant", "Yes.")]
    asked = calls.ChatRequest([*turns, calls.Message("user", "Last?")], max_tokens=4, overflow="drop_oldest")
    items = await answer(engine, asked)
    await engine.stop()
    assert items[0].dropped_messages > 0
    assert items[0].dropped_messages % 2 == 0
    assert items[-1].usage is not None
    assert items[-1].usage.prompt_tokens <= 256 - 4


@pytest.mark.parametrize("field", ["tools", "json_schema", "grammar"])
async def test_what_it_cannot_hold_an_answer_to_is_for_another_engine(engine: TransformersEngine, field: str) -> None:
    values = {"tools": [calls.Tool("t")], "json_schema": "{}", "grammar": 'root ::= "a"'}
    with pytest.raises(CannotServe, match=field):
        await answer(engine, question(**{field: values[field]}))


async def test_told_to_keep_nothing_it_reads_the_prompt_anew_and_says_the_same(engine: TransformersEngine) -> None:
    async def asked() -> tuple[str, int]:
        items = await answer(engine, question(REPEAT, max_tokens=4))
        assert items[-1].usage is not None
        return text_of(items), items[-1].usage.cached_tokens

    expected, _ = await asked()
    assert await asked() > (expected, 0)
    await engine.keep_nothing()
    assert await asked() == (expected, 0)
