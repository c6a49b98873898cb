"""Several answers of the real model at once: the same texts as alone, whoever joins, leaves, fails or is pushed out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ChatItem, ChatRequest, Message, Tool
from tarsd.engines import bundled
from tarsd.engines.llama_cpp import LlamaCppSettings
from tarsd.errors import ContextOverflow, EngineUnavailable, InvalidInput
from tarsd.wire import decode, encode
from tests.engines.conftest import COUNT, question

pytestmark = pytest.mark.model

TOPICS = ["the sea", "old apple trees", "a red bicycle", "bread"]

# each of its parts is in the next one
CHAINED = json.dumps(
    {
        "properties": {"at": {"$ref": "#/$defs/0"}},
        "$defs": {str(at): {"items": {"$ref": f"#/$defs/{at + 1}"}} for at in range(900)},
    }
)


def made(**fields: Any) -> Any:
    from tarsd.engines.llama_cpp_worker import LlamaCppWorker

    settings: dict[str, Any] = {"context_tokens": 2048, "threads": 1, "gpu_layers": 0} | fields
    return LlamaCppWorker(encode(LlamaCppSettings(str(bundled.chat_gguf()), **settings)))


@pytest.fixture(scope="module")
def one() -> Iterator[Any]:
    worker = made()
    yield worker
    worker.close()


@pytest.fixture
def worker(one: Any) -> Any:
    """The module's worker with nothing warm and nothing saved."""
    forget(one)
    one.board.shelf._kept.clear()
    one.board.shelf.held_bytes = 0
    assert one.board._active == []
    assert one.board._waiting == []
    return one


def forget(worker: Any) -> None:
    for effect in worker.board.cache.drop_warm():
        worker.board._do(effect)


class Reader:
    """One open call, read as `workers.turns` does."""

    def __init__(self, worker: Any, asked: ChatRequest) -> None:
        self.items: list[ChatItem] = []
        self.is_open = True
        self._reading = worker.generate(encode(asked))
        self.read()

    def read(self) -> None:
        for data in self._reading:
            if not data:
                return
            self.items.append(decode(data, ChatItem))
        self.is_open = False

    def close(self) -> None:
        self._reading.close()
        self.is_open = False

    @property
    def text(self) -> str:
        return "".join(item.text for item in self.items)

    @property
    def cached(self) -> int:
        usage = self.items[-1].usage
        assert usage is not None
        return usage.cached_tokens


def finish(worker: Any, *readers: Reader, most: int = 10_000) -> None:
    """Take steps until all have ended, at most so many."""
    for _ in range(most):
        if not any(reader.is_open for reader in readers):
            return
        worker.tick()
        for reader in readers:
            if reader.is_open:
                reader.read()


def alone(worker: Any, asked: ChatRequest) -> Reader:
    reader = Reader(worker, asked)
    finish(worker, reader)
    return reader


def test_each_says_beside_others_what_it_says_alone_in_one_batch_a_step(worker: Any) -> None:
    ranges = ((1, 21), (11, 41), (21, 51), (41, 71))  # each has a margin of over 1 of logit
    numbers = [", ".join(map(str, range(*each))) for each in ranges]
    asked = [question(f"{COUNT.partition(':')[0]}: {each}", max_tokens=8) for each in numbers]
    expected = [alone(worker, one).text for one in asked]
    forget(worker)
    readers = [Reader(worker, one) for one in asked]
    sizes = []
    while any(reader.is_open for reader in readers):
        finish(worker, *readers, most=1)
        sizes.append(len({part.sequence for part in worker.board.last_step}))
    assert max(sizes) == 4
    assert [reader.text for reader in readers] == expected  # without a seed a close call may fall otherwise


def test_answers_join_and_leave_while_another_goes_on(worker: Any) -> None:
    long = Reader(worker, question("Tell a long story.", max_tokens=40))
    finish(worker, long, most=5)
    before = len(long.items)
    assert before > 0
    short = Reader(worker, question("Say yes.", max_tokens=3))
    finish(worker, long, short, most=8)
    assert not short.is_open
    assert long.is_open
    assert len(long.items) > before
    finish(worker, long)
    assert long.items[-1].finish_reason in ("stop", "length")


def test_one_more_than_there_are_slots_waits_for_a_place(worker: Any) -> None:
    readers = [Reader(worker, question(f"{topic}?", max_tokens=20)) for topic in [*TOPICS, "rain"]]
    finish(worker, *readers, most=6)
    assert len(worker.board._active) == 4
    assert [item.queue_position for item in readers[4].items] == [1]  # it is told so
    readers[0].close()
    finish(worker, *readers[1:], most=1)
    assert len(worker.board._active) == 4
    finish(worker, *readers[1:])
    assert readers[4].items[-1].finish_reason


def test_a_closed_answer_frees_its_place_at_once_whether_it_reads_or_writes(worker: Any) -> None:
    reading = Reader(worker, question("The garden has old apple trees. " * 80))
    writing = Reader(worker, question("Tell a story.", max_tokens=500))
    finish(worker, reading, writing, most=2)
    reading.close()
    writing.close()
    assert worker.board._active == []
    assert sum(row.reserved for row in worker.board.cache.rows) == 0
    assert alone(worker, question(max_tokens=3)).text


def test_the_second_turn_of_a_conversation_reads_only_what_is_new(worker: Any) -> None:
    first = [Message("system", "You are TARS, an honest robot."), Message("user", "Name three colours.")]
    answered = alone(worker, question(messages=first, max_tokens=30))
    second = [*first, Message("assistant", answered.text), Message("user", "And three animals.")]
    again = alone(worker, question(messages=second, max_tokens=5))
    usage, before = again.items[-1].usage, answered.items[-1].usage
    assert usage is not None
    assert before is not None
    assert answered.cached == 0
    assert usage.cached_tokens >= before.prompt_tokens + before.completion_tokens - 1
    assert usage.prompt_tokens - usage.cached_tokens < 25


def test_two_conversations_share_a_system_prompt_and_both_stay_warm(worker: Any) -> None:
    system = Message("system", "You are TARS, an honest robot. " * 5)
    one = question(
        messages=[system, Message("user", "What is rain? Tell me all about water that falls. " * 4)], max_tokens=3
    )
    other = question(messages=[system, Message("user", "Why do birds sing in the early morning? " * 4)], max_tokens=3)
    alone(worker, one)
    assert alone(worker, other).cached > 30
    prompt = len(worker.board._prompts.make(one).tokens)
    assert alone(worker, one).cached == prompt - 1
    assert alone(worker, other).cached > 60


def test_a_prompt_whose_first_words_alone_are_known_reads_only_the_others(worker: Any) -> None:
    expected = alone(worker, question(COUNT, max_tokens=8)).text
    list(worker.keep_nothing(b""))
    alone(worker, question("What is the sea, and how deep is it? " * 8, max_tokens=3))
    again = alone(worker, question(COUNT, max_tokens=8))
    assert 0 < again.cached < 40
    assert again.text == expected


def test_what_a_sliding_window_let_go_is_read_again(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_cpp

    asked = question(COUNT, max_tokens=8)
    expected = alone(worker, asked).text
    native = worker.board._native
    monkeypatch.setattr(native, "_window", 8)
    assert alone(worker, asked).cached > 8
    held = next(number for number, row in enumerate(worker.board.cache.rows) if row.held)
    assert llama_cpp.llama_memory_seq_rm(native._memory, held, 0, len(worker.board.cache.rows[held].held) - 12)
    again = alone(worker, asked)
    assert again.cached == 0
    assert again.text == expected


def test_what_is_pushed_out_is_saved_and_comes_back_with_the_same_words() -> None:
    worker = made(context_tokens=256)
    one = question(COUNT, max_tokens=10)
    expected = alone(worker, one)
    alone(worker, question("What is the sea? " * 30, max_tokens=10))  # needs the cells of the first
    assert len(worker.board.shelf.rows()) == 1
    again = alone(worker, one)
    assert again.cached > 90
    assert again.text == expected.text
    worker.close()


def test_told_to_keep_nothing_it_reads_every_prompt_anew_and_saves_none() -> None:
    worker = made(context_tokens=256)
    one = question(COUNT, max_tokens=10)
    expected = alone(worker, one).text
    alone(worker, question("What is the sea? " * 30, max_tokens=10))
    board = worker.board
    assert board.shelf.rows()
    list(worker.keep_nothing(b""))
    assert (board.shelf.rows(), board.shelf.held_bytes, board._texts) == ([], 0, {})
    assert [row.held for row in board.cache.rows if row.held] == []
    again = alone(worker, one)
    assert (again.cached, again.text) == (0, expected)
    worker.close()


def test_what_is_being_written_when_it_is_told_to_keep_nothing_is_kept_no_longer_than_that(worker: Any) -> None:
    asked = question(COUNT, max_tokens=8)
    expected = alone(worker, asked).text
    forget(worker)
    readers = [Reader(worker, asked) for _ in range(5)]  # four are written, one waits
    finish(worker, *readers, most=6)
    list(worker.keep_nothing(b""))
    finish(worker, *readers)
    for reader in readers:
        reader.close()
    assert {reader.text for reader in readers} == {expected}
    assert alone(worker, asked).cached == 0
    assert alone(worker, asked).cached > 0  # and what comes later is kept again


def test_without_memory_for_it_nothing_is_saved() -> None:
    worker = made(context_tokens=256, warm_mib=0)
    one = question("Why do birds sing in the early morning? " * 12, max_tokens=3)
    alone(worker, one)
    alone(worker, question("What is the sea? " * 30, max_tokens=3))
    assert worker.board.shelf.rows() == []
    assert alone(worker, one).cached < 30
    worker.close()


def test_a_long_prompt_goes_in_slices_beside_answers_that_all_get_a_token_each_step(worker: Any) -> None:
    running = [Reader(worker, question(f"Tell a story of {topic}.", max_tokens=300)) for topic in TOPICS[:3]]
    while not all(reader.items for reader in running):
        finish(worker, *running, most=1)
    long = Reader(worker, question("The garden has old apple trees. " * 60, max_tokens=2))
    slices = 0
    while not long.items:
        before = [len(reader.items) for reader in running]
        finish(worker, *running, long, most=1)
        assert [len(reader.items) for reader in running] >= before
        parts = worker.board.last_step
        assert sum(len(part.tokens) == 1 for part in parts) >= 3
        assert sum(len(part.tokens) for part in parts) - 3 <= max(64, worker.board.slices.size(is_shared=True) * 8)
        slices += 1
    assert slices >= 4
    for reader in [*running, long]:
        reader.close()


def test_a_step_that_fails_ends_only_the_answer_whose_own_part_fails(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Reader(worker, question(f"Tell a story of {topic}.", max_tokens=12)) for topic in TOPICS[:3]]
    while not all(reader.items for reader in readers):
        finish(worker, *readers, most=1)
    evaluate, failing = worker.board._native.evaluate, worker.board._active[1].sequence

    def fails(parts: Any) -> Any:
        if any(part.sequence == failing for part in parts):
            raise EngineUnavailable("llama_decode: -3")
        return evaluate(parts)

    monkeypatch.setattr(worker.board._native, "evaluate", fails)
    worker.tick()
    with pytest.raises(EngineUnavailable, match="-3"):
        readers[1].read()
    monkeypatch.setattr(worker.board._native, "evaluate", evaluate)
    finish(worker, readers[0], readers[2])
    for reader in (readers[0], readers[2]):
        usage = reader.items[-1].usage
        assert usage is not None
        assert usage.completion_tokens == 12
    assert worker.board._active == []


def test_without_cells_what_is_warm_goes_and_the_answer_is_written(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tarsd.engines.batching.native import NoRoom

    alone(worker, question("Something that stays warm.", max_tokens=3))
    evaluate = worker.board._native.evaluate

    def has_no_room(parts: Any) -> Any:
        if any(row.held and not row.is_busy for row in worker.board.cache.rows):
            raise NoRoom
        return evaluate(parts)

    monkeypatch.setattr(worker.board._native, "evaluate", has_no_room)
    assert alone(worker, question("Bread?", max_tokens=3)).text


def test_a_seed_says_the_same_alone_and_among_others(worker: Any) -> None:
    asked = question("Tell a story of a red bicycle. " * 20, temperature=1.0, seed=7, max_tokens=16)
    first = alone(worker, asked).text
    assert alone(worker, msgspec.structs.replace(asked, seed=8)).text != first
    others = [Reader(worker, question(f"{topic} " * 30, max_tokens=60)) for topic in TOPICS[:3]]
    while not others[0].items:
        finish(worker, *others, most=1)
    again = Reader(worker, asked)
    while again.is_open:
        finish(worker, again, *others, most=1)
        assert sum(len(part.tokens) for part in worker.board.last_step) < 64
    assert again.text == first
    for reader in others:
        reader.close()


def test_what_a_seeds_token_is_chosen_from_is_the_same_to_the_last_bit_beside_a_long_prompt(worker: Any) -> None:
    asked = question("Tell a story of a red bicycle. " * 20, temperature=1.0, seed=7, max_tokens=2)
    logits = []
    for beside in (False, True):
        long = Reader(worker, question("The garden has old apple trees. " * 100)) if beside else None
        reader = Reader(worker, asked)
        while not reader.items:
            finish(worker, reader, most=1)
        sequence = worker.board._active[-1].sequence
        ends = list(itertools.accumulate(len(part.tokens) for part in worker.board.last_step))
        at = next(n for n, part in enumerate(worker.board.last_step) if part.sequence == sequence)
        logits.append(worker.board._native.logits(ends[at] - 1).tobytes())
        reader.close()
        if long is not None:
            long.close()
    assert logits[0] == logits[1]


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer"},
        "kind": {"enum": ["cat", "dog"]},
        "home": {"$ref": "#/$defs/home"},
    },
    "required": ["name", "age", "kind", "home"],
    "additionalProperties": False,
    "$defs": {"home": {"type": "object", "properties": {"city": {"enum": ["Jaén", "Oslo"]}}, "required": ["city"]}},
}


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_an_answer_fits_its_schema_and_ends_with_it(worker: Any, temperature: float) -> None:
    asked = question("Describe a pet.", json_schema=json.dumps(SCHEMA), max_tokens=120, temperature=temperature)
    reader = alone(worker, asked)
    pet = json.loads(reader.text)
    assert set(pet) == {"name", "age", "kind", "home"}
    assert pet["kind"] in ("cat", "dog")
    assert pet["home"]["city"] in ("Jaén", "Oslo")
    assert reader.items[-1].finish_reason == "stop"


def test_a_grammar_is_held_and_ends_the_answer(worker: Any) -> None:
    reader = alone(worker, question("Is rain wet?", grammar='root ::= ("yes" | "no") "!"', max_tokens=50))
    assert reader.text in ("yes!", "no!")
    assert reader.items[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"grammar": "root ::= root"}, "^grammar: "),
        ({"grammar": 'x ::= "a"'}, "^grammar: "),
        ({"grammar": "root ::= " + "(" * 50_000}, "^grammar: groups are nested"),
        ({"json_schema": '{"type": "nonsense"}'}, "^json_schema: "),
        ({"json_schema": json.dumps({"properties": {str(at): {} for at in range(999)}})}, "optional properties"),
        ({"json_schema": '{"anyOf": [{"$ref": "#"}, {"type": "null"}]}'}, "^json_schema: "),
        ({"grammar": 'root ::= "yes"', "partial": "no"}, "^partial: what was said already does not fit `grammar`"),
        ({"tools": [Tool("a", "", "{")], "tool_choice": "required"}, r"^tools\[0\]\.parameters: "),
        ({"tools": [Tool("a")], "tool_choice": "b"}, "^tool_choice: "),
    ],
)
def test_what_cannot_be_held_is_refused_by_name_and_harms_nobody(worker: Any, fields: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        Reader(worker, question("Hello", **fields))
    assert worker.board._waiting == []
    assert alone(worker, question(max_tokens=2)).text


def test_a_schema_is_continued_from_what_was_said(worker: Any) -> None:
    said = '{"name": "Mia", "age": 3, "ki'
    rest = alone(worker, question("Describe a pet.", json_schema=json.dumps(SCHEMA), max_tokens=60, partial=said))
    assert json.loads(said + rest.text)["name"] == "Mia"


WEATHER = Tool(
    "weather",
    "Tells the weather of a city.",
    '{"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}',
)


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_call_that_must_come_comes(worker: Any, choice: str) -> None:
    reader = alone(worker, question("Is it raining?", tools=[WEATHER], tool_choice=choice, max_tokens=60))
    last = reader.items[-1]
    assert last.finish_reason == "tool_calls"
    assert reader.text == ""
    (call,) = last.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
    assert call.id


def test_the_model_reads_tools_and_what_they_answered(worker: Any) -> None:
    call = calls.ToolCall("1", "weather", '{"city": "Oslo"}')
    messages = [
        Message("user", "Weather in Oslo?"),
        Message("assistant", "", tool_calls=[call]),
        Message("tool", "snow and ice", tool_call_id="1", name="weather"),
    ]
    text = worker.board._prompts.make(question(messages=messages, tools=[WEATHER])).text
    assert "Tells the weather of a city." in text
    assert '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>' in text
    assert "<tool_response>\nsnow and ice\n</tool_response>" in text
    assert (
        "Tells" not in worker.board._prompts.make(question(messages=messages, tools=[WEATHER], tool_choice="none")).text
    )


def turns(count: int, words: int = 40) -> list[Message]:
    found = [Message("system", "You are TARS.")]
    for at in range(count):
        found += [Message("user", f"question {at} " + "word " * words), Message("assistant", f"answer {at}")]
    return [*found, Message("user", "the last question")]


def test_the_oldest_turns_are_left_out_and_told_with_the_first_item() -> None:
    worker = made(context_tokens=512)
    reader = alone(worker, question(messages=turns(20), max_tokens=64, overflow="drop_oldest"))
    dropped = reader.items[0].dropped_messages
    assert dropped > 0
    prompt = worker.board._prompts.make(question(messages=turns(20), max_tokens=64, overflow="drop_oldest"))
    assert "You are TARS." in prompt.text
    assert "the last question" in prompt.text
    assert "question 0 " not in prompt.text
    assert "question 19 " in prompt.text
    assert 512 - 64 - 60 < len(prompt.tokens) <= 512 - 64  # not a turn more than needed
    with pytest.raises(ContextOverflow, match=r"messages: \d+ tokens do not fit the model's context of 512 tokens"):
        Reader(worker, question(messages=turns(20)))
    with pytest.raises(ContextOverflow):
        Reader(worker, question("word " * 600, overflow="drop_oldest"))
    worker.close()


def test_a_limit_says_which_one_it_was() -> None:
    worker = made(context_tokens=256)
    assert alone(worker, question("Tell a story.", max_tokens=3)).items[-1].limit == "max_tokens"
    cut = alone(worker, question("Tell a story " + "word " * 180, max_tokens=4000, grammar='root ::= "a"{200}'))
    assert (cut.items[-1].finish_reason, cut.items[-1].limit) == ("length", "context")
    worker.close()


def test_bare_text_is_continued_without_a_template(worker: Any) -> None:
    reader = alone(worker, question(messages=[], prompt="1, 2, 3, 4, 5, 6,", max_tokens=4))
    assert "7" in reader.text


def test_characters_of_several_tokens_are_never_cut_beside_others(worker: Any) -> None:
    readers = [
        Reader(
            worker, question("Emojis!", grammar='root ::= ("🙂" | "日本" | "ñ"){12}', max_tokens=90, temperature=1.5)
        )
        for _ in range(3)
    ]
    finish(worker, *readers)
    for reader in readers:
        assert "\ufffd" not in reader.text
        assert set(reader.text) <= set("🙂日本ñ")
        assert all(item.text or item.finish_reason for item in reader.items)


def resplit(worker: Any, tokens: list[int]) -> list[int]:
    """Return the same text in other tokens: the first one that can be is split into its characters."""
    native = worker.board._native
    for at, token in enumerate(tokens):
        piece = native.piece(token, first=False)
        parts = [one for byte in piece.decode(errors="replace") for one in native.tokenize(byte, special=False)]
        if len(parts) > 1 and b"".join(native.piece(part, first=False) for part in parts) == piece:
            return [*tokens[:at], *parts, *tokens[at + 1 :]]
    raise AssertionError("no token can be split")


@pytest.mark.parametrize("is_saved", [False, True])
def test_what_a_model_split_otherwise_than_the_tokenizer_is_reused_all_the_same(worker: Any, is_saved: bool) -> None:
    first = [Message("user", "Name three colours, and tell me at length why you chose just these. " * 4)]
    answered = alone(worker, question(messages=first, max_tokens=20))
    row = next(row for row in worker.board.cache.rows if row.held)
    before = answered.items[-1].usage
    assert before is not None
    start = before.prompt_tokens
    row.held[start:] = resplit(worker, row.held[start:])
    if is_saved:
        for effect in worker.board.cache.drop_warm():
            worker.board._do(effect)
    held = worker.board.shelf.rows()[0][1] if is_saved else row.held
    second = [*first, Message("assistant", answered.text), Message("user", "And three animals.")]
    asked = question(messages=second, max_tokens=5)
    plain = worker.board._prompts.make(asked)
    assert plain.tokens[: len(held)] != held
    reader = Reader(worker, asked)
    assert worker.board._waiting[0].prompt.tokens[: len(held)] == held
    reader.close()


class Says:
    """Chooses given tokens, whatever the model would say."""

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = iter(tokens)

    def choose(self, index: int) -> int:
        return next(self._tokens)

    def free(self) -> None:
        pass


@pytest.mark.parametrize(("tools", "shown"), [([WEATHER], "<|im_start|>"), ([], "")])
def test_a_control_token_that_opens_calls_is_read_where_tools_are_offered(
    worker: Any, monkeypatch: pytest.MonkeyPatch, tools: list[Tool], shown: str
) -> None:
    native = worker.board._native
    opener, end = native.tokenize("<|im_start|><|im_end|>", special=True)
    monkeypatch.setattr(worker.board, "_openers", {opener})
    reader = Reader(worker, question(tools=tools, tool_choice="auto"))
    answer = worker.board._waiting[0]
    answer.sampler.free()
    answer.sampler = Says([*native.tokenize("Yes: ", special=False), opener, end])
    finish(worker, reader)
    assert reader.text == "Yes: " + shown


@pytest.mark.timeout(20)  # 1.7 s a megabyte when all of it is split, 5 s without spaces
@pytest.mark.parametrize(
    "text", ["lorem " * 500_000, "lorem" * 500_000, " " * 500_000], ids=["words", "one word", "spaces"]
)
def test_megabytes_are_refused_before_other_answers_have_waited(worker: Any, text: str) -> None:
    split: list[int] = []
    tokenize = worker._native.tokenize

    def counted(text: str, *, special: bool) -> list[int]:
        split.append(len(text))
        tokens: list[int] = tokenize(text, special=special)
        return tokens

    worker._native.tokenize = counted
    try:
        with pytest.raises(ContextOverflow, match=r"messages: \d+ tokens do not fit .*, and there are more"):
            worker.board.enter(question(text))
        with pytest.raises(ContextOverflow):
            worker.board.enter(question(partial=text))
    finally:
        del worker._native.tokenize
    assert sum(split) < 2 * (8 + worker._native.longest_token) * worker._native.context_tokens + 10_000


def test_a_long_text_of_few_tokens_is_taken_whole(worker: Any) -> None:
    text = " " * (12 * worker._native.context_tokens)
    answer = worker.board.enter(question(text))
    worker.board.leave(answer)
    assert answer.prompt.text.count(" ") >= len(text)
    assert "".join(worker._native.token_text(token) for token in answer.prompt.tokens).count("\u0120") >= len(text)


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"json_schema": CHAINED}, "json_schema"), ({"tools": [Tool("go", "", CHAINED)], "tool_choice": "go"}, "tools")],
)
def test_references_that_lead_too_deep_are_refused_by_the_name_of_their_field(fields: Any, name: str) -> None:
    from tarsd.engines.batching.grammars import grammar_of

    with pytest.raises(InvalidInput, match=f"^{name}: its references lead too deep"):
        grammar_of(question(**fields))
