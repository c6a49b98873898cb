from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from importlib.metadata import EntryPoint

import pytest

from tarsd import calls, config
from tarsd.engines import chain as chain_module
from tarsd.engines import keeper as keeper_module
from tarsd.engines.chain import EngineChain
from tarsd.errors import (
    CannotServe,
    ConfigError,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidInput,
    Overloaded,
    WorkerLost,
)
from tarsd.workers.backoff import Backoff
from tests.engines.conftest import until
from tests.engines.scripted_engine import SCRIPTS, Script

Start = Callable[..., "asyncio.Future[EngineChain]"]


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    SCRIPTS.clear()

    def plugs(group: str) -> list[EntryPoint]:
        kinds = ("llama_cpp", "ollama", "transformers")
        return [EntryPoint(kind, "tests.engines.scripted_engine:ScriptedEngine", group) for kind in kinds]

    monkeypatch.setattr(chain_module, "entry_points", plugs)
    monkeypatch.setattr(keeper_module, "Backoff", lambda: Backoff(0.01, 0.01))


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    chains: list[EngineChain] = []

    async def build(
        *kinds: str,
        queue: int = 4,
        max_tokens: int = 100,
        changed: Callable[[], None] = lambda: None,
        **scripts: Script,
    ) -> EngineChain:
        SCRIPTS.update(scripts)
        settings = [config.Engine(kind=kind) for kind in kinds]  # type: ignore[arg-type]
        chains.append(EngineChain(settings, queue=queue, max_tokens=max_tokens, changed=changed))
        await chains[-1].start()
        return chains[-1]

    yield build
    for chain in chains:
        await chain.stop()


def question(**fields: object) -> calls.ChatRequest:
    return calls.ChatRequest(messages=[calls.Message("user", "why?")], **fields)  # type: ignore[arg-type]


async def ask(chain: EngineChain, deadline_s: float = 10, **fields: object) -> list[calls.ChatItem]:
    async with aclosing(chain.generate(question(**fields), deadline_s)) as items:
        return [item async for item in items]


def text(items: list[calls.ChatItem]) -> str:
    return "".join(item.text for item in items)


async def test_the_first_usable_engine_of_the_configuration_answers(start: Start) -> None:
    chain = await start("ollama", "llama_cpp", ollama=Script([["from ollama"]]))
    assert await chain.wait_ready(30)
    items = await ask(chain)
    assert text(items) == "from ollama"
    assert (items[0].engine, items[0].model) == ("ollama", "ollama-model")
    assert items[-1].finish_reason == "stop"
    assert [info.engine for info in chain.infos()] == ["ollama", "llama_cpp"]


async def test_an_engine_that_cannot_start_is_passed_over_and_tried_again(start: Start) -> None:
    broken = Script([["late"]], starts=[EngineUnavailable("no model")] * 3)
    chain = await start("llama_cpp", "ollama", llama_cpp=broken, ollama=Script([["spare"]]))
    assert await chain.wait_ready(30)
    assert text(await ask(chain)) == "spare"
    await until(lambda: not chain.reasons)
    assert text(await ask(chain)) == "late"


async def test_reasons_say_why_and_the_refusal_names_them(start: Start) -> None:
    for_ever = [EngineUnavailable("no such file")] * 1000
    chain = await start("llama_cpp", "ollama", llama_cpp=Script(starts=for_ever), ollama=Script(starts=for_ever[:]))
    await until(lambda: len(chain.reasons) == 2)
    assert not chain.ready
    assert chain.info() is None
    with pytest.raises(EngineUnavailable, match="llama_cpp: no such file; ollama: no such file"):
        await ask(chain)


async def test_while_everything_is_loading_the_refusal_says_so(start: Start) -> None:
    chain = await start("llama_cpp")
    assert chain.loading
    with pytest.raises(EngineUnavailable, match="still loading"):
        await ask(chain)
    assert await chain.wait_ready(30)
    assert not chain.loading


async def test_a_failure_before_the_first_token_is_not_seen_and_its_reason_is_kept(start: Start) -> None:
    chain = await start("llama_cpp", "ollama", llama_cpp=Script([[WorkerLost("it died")]]), ollama=Script([["a", "b"]]))
    assert await chain.wait_ready(30)
    items = await ask(chain)
    assert [item.text for item in items] == ["a", "b", ""]
    assert items[0].engine == "ollama"
    assert chain.reasons == {"llama_cpp": "it died"}


async def test_the_next_engine_continues_an_answer_from_what_was_shown(start: Start) -> None:
    chain = await start(
        "llama_cpp",
        "ollama",
        llama_cpp=Script([["The ", "sky ", WorkerLost("it died")]]),
        ollama=Script([["is ", "blue."]]),
    )
    assert await chain.wait_ready(30)
    items = await ask(chain, partial="Well: ", max_tokens=50)
    assert text(items) == "The sky is blue."
    assert [item.engine for item in items if item.engine] == ["llama_cpp", "ollama"]
    continued = SCRIPTS["ollama"].asked[0]
    assert continued.partial == "Well: The sky "
    assert continued.max_tokens == 48
    assert items[-1].usage == calls.Usage(7, 4)


async def test_when_no_engine_can_go_on_the_answer_fails_after_what_was_shown(start: Start) -> None:
    chain = await start("llama_cpp", llama_cpp=Script([["half", WorkerLost("it died")]]))
    assert await chain.wait_ready(30)
    async with aclosing(chain.generate(question(), 5)) as items:
        assert (await anext(items)).text == "half"
        with pytest.raises(EngineUnavailable, match="llama_cpp: it died"):
            await anext(items)
    assert chain.load()[:2] == (0, 0)


async def test_an_engine_that_failed_is_started_again_before_it_is_asked_again(start: Start) -> None:
    chain = await start("llama_cpp", llama_cpp=Script([[WorkerLost("it died")], ["well again"]]))
    assert await chain.wait_ready(30)
    with pytest.raises(EngineUnavailable):
        await ask(chain)
    assert not chain.ready
    assert await chain.wait_ready(30)
    assert SCRIPTS["llama_cpp"].started == 2
    assert text(await ask(chain)) == "well again"
    assert chain.reasons == {}


async def test_one_that_gave_a_whole_answer_in_between_is_started_again_as_soon_as_after_its_first_failure(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    backoff = Backoff(0.01, 10)
    monkeypatch.setattr(keeper_module, "Backoff", lambda: backoff)
    failure = WorkerLost("it died")
    chain = await start("llama_cpp", llama_cpp=Script([[failure], [failure], ["whole"]]))
    waits = []
    for _ in range(3):
        assert await chain.wait_ready(5)
        with suppress(EngineUnavailable):
            await ask(chain)
        waits.append(backoff._next_s)
        await until(lambda: chain.ready or backoff._next_s > waits[-1])
    assert waits == [0.01, 0.02, 0.01]


async def test_a_busy_server_is_passed_over_but_not_given_up(start: Start) -> None:
    chain = await start(
        "llama_cpp", "ollama", llama_cpp=Script([[Overloaded("busy", 3.0)], ["free"]]), ollama=Script([["spare"]])
    )
    assert await chain.wait_ready(30)
    assert text(await ask(chain)) == "spare"
    assert text(await ask(chain)) == "free"


async def test_a_request_that_is_wrong_is_not_tried_elsewhere(start: Start) -> None:
    chain = await start("llama_cpp", "ollama", llama_cpp=Script([[InvalidInput("messages: too long")]]))
    assert await chain.wait_ready(30)
    with pytest.raises(InvalidInput):
        await ask(chain)
    assert SCRIPTS["ollama"].asked == []
    assert chain.reasons == {}


@pytest.mark.parametrize("model", ["ollama", "ollama-model"])
async def test_a_request_can_name_engine_or_model(start: Start, model: str) -> None:
    chain = await start("llama_cpp", "ollama", ollama=Script([["named"]]))
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    assert text(await ask(chain, model=model)) == "named"
    assert text(await ask(chain, model="unknown")) == "ok"


async def test_the_node_bounds_the_length_of_an_answer(start: Start) -> None:
    chain = await start("llama_cpp", max_tokens=20)
    assert await chain.wait_ready(30)
    await ask(chain, max_tokens=5000)
    await ask(chain, max_tokens=5)
    assert [request.max_tokens for request in SCRIPTS["llama_cpp"].asked] == [20, 5]


async def test_one_answer_at_a_time_people_before_background_each_told_its_position(start: Start) -> None:
    go = asyncio.Event()
    chain = await start("llama_cpp", llama_cpp=Script([[go, "x"]]))
    assert await chain.wait_ready(30)
    done: list[str] = []
    positions: dict[str, list[int]] = {}

    async def one(name: str, background: bool) -> None:
        items = await ask(chain, background=background)
        positions[name] = [item.queue_position for item in items if item.queue_position]
        done.append(name)

    async with asyncio.TaskGroup() as group:
        for name, background in (("first", False), ("night", True), ("ana", False)):
            group.create_task(one(name, background))
            await asyncio.sleep(0)
        await until(lambda: chain._turnstile.queued == 2)
        assert chain.load()[:2] == (1, 1)  # background work, which steps back, is nobody's load
        assert len(SCRIPTS["llama_cpp"].asked) == 1
        go.set()
    assert done == ["first", "ana", "night"]
    assert positions["first"] == []
    assert positions["night"][:2] == [1, 2]
    assert positions["ana"] == [1]


async def test_beyond_the_queue_a_question_is_refused(start: Start) -> None:
    go = asyncio.Event()
    chain = await start("llama_cpp", queue=1, llama_cpp=Script([[go, "x"]]))
    assert await chain.wait_ready(30)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(ask(chain))
        await until(lambda: chain.load()[0] == 1)
        with pytest.raises(Overloaded) as caught:
            await ask(chain)
        assert caught.value.retry_after_s > 0
        go.set()


async def test_a_deadline_counts_in_the_queue(start: Start) -> None:
    go = asyncio.Event()
    chain = await start("llama_cpp", llama_cpp=Script([[go, "x"]]))
    assert await chain.wait_ready(30)
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(chain))
        await until(lambda: chain.load()[1] == 1)
        with pytest.raises(DeadlineExceeded):
            await ask(chain, deadline_s=0.02)
        go.set()


async def test_closing_an_answer_closes_the_engines_and_frees_the_turn(start: Start) -> None:
    chain = await start("llama_cpp", llama_cpp=Script([["a", asyncio.Event()]]))
    assert await chain.wait_ready(30)
    async with aclosing(chain.generate(question(), 5)) as items:
        await anext(items)
    assert SCRIPTS["llama_cpp"].closed == 1
    assert chain.load()[:2] == (0, 0)


async def test_an_engine_whose_worker_went_away_is_noticed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_LOOK_S", 0.01)
    chain = await start("llama_cpp")
    assert await chain.wait_ready(30)
    await chain.engines[0].stop()
    assert not chain.ready
    await until(lambda: SCRIPTS["llama_cpp"].started == 2)
    assert await chain.wait_ready(30)


def test_twins_have_names_of_their_own() -> None:
    settings = [config.Engine(kind="ollama"), config.Engine(kind="llama_cpp"), config.Engine(kind="ollama")]
    assert [engine.name for engine in chain_module.build_engines(settings)] == ["ollama", "llama_cpp", "ollama-2"]


def test_an_engine_that_is_not_installed_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigError, match="no engine 'openai'"):
        chain_module.build_engines([config.Engine(kind="openai")])


async def test_background_work_steps_back_in_mid_answer_and_goes_on_from_its_own_text(start: Start) -> None:
    never = asyncio.Event()
    script = Script(answers=[["one ", never], ["person"], ["two"]])
    chain = await start("llama_cpp", llama_cpp=script)
    await chain.wait_ready(2)
    background = asyncio.ensure_future(ask(chain, background=True))
    await until(lambda: len(script.asked) == 1 and script.asked[0].background)
    assert chain.load()[:2] == (0, 0)

    assert text(await ask(chain)) == "person"
    assert text(await asyncio.wait_for(background, 30)) == "one two"
    assert [(asked.background, asked.partial) for asked in script.asked] == [(True, ""), (False, ""), (True, "one ")]
    assert script.closed == 3


async def test_a_person_is_never_made_to_step_back(start: Start) -> None:
    gate = asyncio.Event()
    script = Script(answers=[["one ", gate, "two"], ["three"]])
    chain = await start("llama_cpp", llama_cpp=script)
    await chain.wait_ready(2)
    first = asyncio.ensure_future(ask(chain))
    await until(lambda: len(script.asked) == 1)
    second = asyncio.ensure_future(ask(chain))
    await until(lambda: chain.load()[0] == 1)
    gate.set()
    assert text(await first) == "one two"
    assert text(await second) == "three"


async def test_as_many_answers_at_once_as_the_first_usable_engine_has_slots(start: Start) -> None:
    go = asyncio.Event()
    chain = await start("llama_cpp", llama_cpp=Script([[go, "x"]], slots=3))
    assert await chain.wait_ready(30)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(ask(chain))
        await until(lambda: chain.load()[:2] == (2, 3))
        assert len(SCRIPTS["llama_cpp"].asked) == 3
        go.set()
    assert chain.slots == 3


async def test_who_waits_is_told_how_long_it_will_take(start: Start) -> None:
    go = asyncio.Event()
    chain = await start("llama_cpp", llama_cpp=Script([[go, "x"]]))
    assert await chain.wait_ready(30)
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(chain))
        await until(lambda: chain.load()[1] == 1)
        async with aclosing(chain.generate(question(), 10)) as items:
            first = await anext(items)
        go.set()
    assert (first.queue_position, first.wait_s) == (1, 1.0)


async def test_an_engine_that_cannot_do_what_is_asked_for_is_passed_over_and_not_broken(start: Start) -> None:
    cannot = Script([[CannotServe("tools: not known here")]])
    chain = await start("llama_cpp", "ollama", llama_cpp=cannot, ollama=Script([["called"]]))
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    assert text(await ask(chain)) == "called"
    assert chain.reasons == {}
    assert chain.circuits == {"llama_cpp": "closed", "ollama": "closed"}


async def test_where_no_engine_can_do_it_the_refusal_names_what(start: Start) -> None:
    cannot = [[CannotServe("tools: not known here")]]
    chain = await start("llama_cpp", "ollama", llama_cpp=Script(cannot), ollama=Script(cannot[:]))
    assert await chain.wait_ready(30)
    with pytest.raises(CannotServe, match="tools"):
        await ask(chain)


async def test_an_answer_that_was_begun_is_not_refused_by_the_engine_that_should_go_on(start: Start) -> None:
    chain = await start(
        "llama_cpp",
        "ollama",
        "transformers",
        llama_cpp=Script([["half ", WorkerLost("it died")]]),
        ollama=Script([[InvalidInput("messages: too long for this one")]]),
        transformers=Script([["and half"]]),
    )
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 3)
    assert text(await ask(chain)) == "half and half"


async def test_a_deadline_in_mid_answer_cuts_it_and_says_so(start: Start) -> None:
    chain = await start("llama_cpp", llama_cpp=Script([["a", "b", DeadlineExceeded("too late")]]))
    assert await chain.wait_ready(30)
    items = await ask(chain)
    assert text(items) == "ab"
    assert (items[-1].finish_reason, items[-1].limit) == ("length", "deadline")
    assert items[-1].usage == calls.Usage(completion_tokens=2)


async def test_a_deadline_before_the_first_token_is_an_error(start: Start) -> None:
    chain = await start("llama_cpp", llama_cpp=Script([[DeadlineExceeded("too late")]]))
    assert await chain.wait_ready(30)
    with pytest.raises(DeadlineExceeded):
        await ask(chain)


async def test_after_a_failure_one_answer_tries_the_engine_while_others_prefer_another(start: Start) -> None:
    go = asyncio.Event()
    first = Script([[WorkerLost("it died")], ["trial", go], ["well"]], slots=4)
    chain = await start("llama_cpp", "ollama", llama_cpp=first, ollama=Script([["spare"]]))
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    assert text(await ask(chain)) == "spare"
    assert chain.circuits["llama_cpp"] == "open"
    await until(lambda: chain.circuits["llama_cpp"] == "half_open")
    trial = asyncio.create_task(ask(chain))
    await until(lambda: len(first.asked) == 2)
    assert text(await ask(chain)) == "spare"
    assert chain.reasons == {"llama_cpp": "it died"}
    go.set()
    assert text(await trial) == "trial"
    assert chain.circuits["llama_cpp"] == "closed"
    assert chain.reasons == {}
    assert text(await ask(chain)) == "well"


async def test_changes_of_what_is_usable_are_told(start: Start) -> None:
    told: list[bool] = []
    chain = await start("llama_cpp", llama_cpp=Script([[WorkerLost("it died")]]), changed=lambda: told.append(True))
    assert await chain.wait_ready(30)
    assert len(told) == 1
    with pytest.raises(EngineUnavailable):
        await ask(chain)
    assert len(told) == 2
    await until(lambda: len(told) == 3)


async def test_a_finished_answer_is_not_continued_whatever_its_engine_does_then(start: Start) -> None:
    chain = await start("llama_cpp", "ollama", llama_cpp=Script([["whole"]], after=WorkerLost("it died")))
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    items = await ask(chain)
    assert text(items) == "whole"
    assert [item.finish_reason for item in items if item.finish_reason] == ["stop"]
    assert SCRIPTS["ollama"].asked == []


async def test_a_refusal_of_the_spare_is_not_the_answer_where_the_first_may_come_back(start: Start) -> None:
    chain = await start(
        "llama_cpp",
        "transformers",
        llama_cpp=Script([[WorkerLost("it died")]]),
        transformers=Script([[CannotServe("tools: not here")]]),
    )
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    with pytest.raises(EngineUnavailable, match="it died"):
        await ask(chain)


async def test_what_another_node_began_goes_on_with_the_engine_that_has_room(start: Start) -> None:
    small = Script([[InvalidInput("messages: too long for this one")]])
    chain = await start("llama_cpp", "ollama", llama_cpp=small, ollama=Script([["the rest"]]))
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    assert text(await ask(chain, partial="begun elsewhere ")) == "the rest"


async def test_an_answer_without_a_last_part_is_continued_by_the_next_engine(start: Start) -> None:
    chain = await start("llama_cpp", "ollama", llama_cpp=Script([["half "]], ends=False), ollama=Script([["and half"]]))
    assert await chain.wait_ready(30)
    await until(lambda: len(chain.infos()) == 2)
    assert text(await ask(chain)) == "half and half"


async def test_a_finished_background_answer_is_not_continued_when_a_person_comes_in_that_moment(start: Start) -> None:
    script = Script([["summary"], ["person"]])
    chain = await start("llama_cpp", llama_cpp=script)
    assert await chain.wait_ready(30)
    async with aclosing(chain.generate(question(background=True), 10)) as items:
        assert (await anext(items)).text == "summary"
        assert (await anext(items)).finish_reason == "stop"
        person = asyncio.create_task(ask(chain))
        await until(lambda: chain.load()[0] + chain.load()[1] == 1)
        with pytest.raises(StopAsyncIteration):
            await anext(items)
    assert text(await person) == "person"
    assert len(script.asked) == 2
