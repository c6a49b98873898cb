"""Models on demand: loaded once for all who ask, told while they wait, unloaded by their time, the bound and the PC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from tarsd import calls, config
from tarsd.engines import chain as chain_module
from tarsd.engines import keeper as keeper_module
from tarsd.engines import occupancy
from tarsd.engines import residency as residency_module
from tarsd.engines.chain import EngineChain
from tarsd.engines.residency import Residency
from tarsd.engines.resident import Loadable
from tarsd.errors import EngineUnavailable, Overloaded
from tarsd.wire import MIB
from tarsd.workers.backoff import Backoff
from tests.engines.conftest import text_of, until
from tests.engines.scripted_engine import SCRIPTS, Script, ScriptedEngine


@dataclass
class Home:
    """A residency over scripted engines, and what the test says of the PC."""

    sizes: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("small", "other", "third", "nice-name"), 10 * MIB)
    )
    available: int = 1 << 40
    found: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    residency: Residency | None = None

    def find(self, name: str) -> Loadable | None:
        self.found.append(name)
        if name not in self.sizes:
            return None
        return Loadable(name, config.Engine(kind="llama_cpp", model=name), self.sizes[name])


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    SCRIPTS.clear()

    def plugs(group: str) -> list[EntryPoint]:
        return [EntryPoint("llama_cpp", "tests.engines.scripted_engine:ScriptedEngine", group)]

    monkeypatch.setattr(chain_module, "entry_points", plugs)
    monkeypatch.setattr(keeper_module, "Backoff", lambda: Backoff(0.01, 0.01))


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    homes: list[Home] = []

    async def build(home: Home | None = None, fetch: Any = None, own_bytes: int = 0, **settings: Any) -> Home:
        home = home or Home()

        def chain(engines: Any) -> EngineChain:
            home.loads.append(engines[0].model)
            return EngineChain(engines, queue=4, max_tokens=50)

        original = ScriptedEngine.start

        async def gated(engine: ScriptedEngine) -> None:
            if home.gate is not None and engine._model in home.sizes:
                await home.gate.wait()
            await original(engine)

        monkeypatch.setattr(ScriptedEngine, "start", gated)
        home.residency = Residency(
            [config.Engine(kind="llama_cpp")],
            config.Models(**settings),
            chain,
            home.find,
            own_bytes=own_bytes,
            own_names=["nice-name"],
            fetch=fetch,
            total_bytes=lambda: 100 * MIB,
            available_bytes=lambda: home.available,
        )
        await home.residency.start()
        homes.append(home)
        async with asyncio.timeout(30):
            await home.residency._here[""].chain.wait_ready(30)
        return home

    yield build
    for home in homes:
        assert home.residency is not None
        await home.residency.stop()


def question(model: str = "", **fields: Any) -> calls.ChatRequest:
    return calls.ChatRequest([calls.Message("user", "why?")], model=model, **fields)


async def ask(home: Home, model: str = "", **fields: Any) -> list[calls.ChatItem]:
    assert home.residency is not None
    async with asyncio.timeout(30), aclosing(home.residency.generate(question(model, **fields), 10)) as items:
        return [item async for item in items]


def here(home: Home) -> set[str]:
    assert home.residency is not None
    return set(home.residency.loaded())


async def test_a_model_is_loaded_when_it_is_named_and_says_its_own_name(start: Any) -> None:
    home = await start()
    items = await ask(home, "small")
    assert items[0].loading
    assert text_of(items) == "ok"
    assert [item.model for item in items if item.engine] == ["small"]
    assert home.loads == ["", "small"]
    assert not any(item.loading for item in await ask(home, "small"))
    assert home.loads == ["", "small"]


@pytest.mark.parametrize("model", ["", "llama_cpp", "llama_cpp-model", "nobody-knows-it", "nice-name"])
async def test_what_names_no_model_of_its_own_is_for_the_nodes_own_engines(start: Any, model: str) -> None:
    home = await start()
    items = await ask(home, model)
    assert text_of(items) == "ok"
    assert home.loads == [""]
    assert here(home) == set()


async def test_who_asks_while_it_loads_waits_for_the_same_load(start: Any) -> None:
    home = Home(gate=asyncio.Event())
    await start(home)
    asked = [asyncio.create_task(ask(home, "small")) for _ in range(3)]
    await until(lambda: "small" in home.loads)
    assert home.gate is not None
    home.gate.set()
    assert [text_of(await one) for one in asked] == ["ok"] * 3
    assert home.loads.count("small") == 1


async def test_a_load_goes_on_when_its_reader_leaves(start: Any) -> None:
    home = Home(gate=asyncio.Event())
    await start(home)
    assert home.residency is not None
    assert home.gate is not None
    reader = home.residency.generate(question("small"), 10)
    assert (await anext(reader)).loading
    step = asyncio.ensure_future(anext(reader))
    await until(lambda: "small" in home.loads)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    await reader.aclose()
    home.gate.set()
    await until(lambda: "small" in here(home))


async def test_who_waits_is_told_again_and_again_that_it_loads(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency_module, "TELL_S", 0.01)
    home = Home(gate=asyncio.Event())
    await start(home)
    assert home.residency is not None
    assert home.gate is not None
    async with aclosing(home.residency.generate(question("small"), 10)) as items:
        told = [await anext(items) for _ in range(4)]
        assert all(item.loading and not item.text for item in told)
        home.gate.set()
        assert text_of([item async for item in items]) == "ok"


async def test_it_is_unloaded_when_its_time_is_over(start: Any) -> None:
    home = await start(keep_alive_s=0.05)
    await ask(home, "small")
    assert here(home) == {"small"}
    await until(lambda: here(home) == set())
    assert text_of(await ask(home, "small")) == "ok"


@pytest.mark.parametrize("configured", [0.0, 300.0])
async def test_a_request_may_say_that_it_leaves_at_once(start: Any, configured: float) -> None:
    home = await start(keep_alive_s=configured)
    assert text_of(await ask(home, "small", keep_alive_s=0.0 if configured else None)) == "ok"
    await until(lambda: here(home) == set())


async def test_a_request_may_say_that_it_stays(start: Any) -> None:
    home = await start(keep_alive_s=0.0)
    await ask(home, "small", keep_alive_s=-1.0)
    assert home.residency is not None
    assert home.residency.expires_s("small") is None
    await ask(home, "other")
    await until(lambda: here(home) == {"small"})


async def test_a_model_that_answers_stays_however_long(start: Any) -> None:
    hold = asyncio.Event()
    SCRIPTS["llama_cpp"] = Script(answers=[["a", hold, "b"]])
    home = await start(keep_alive_s=0.0)
    assert home.residency is not None
    async with aclosing(home.residency.generate(question("small"), 10)) as items:
        while not (await anext(items)).text:
            pass
        assert home.residency.expires_s("small") is None
        with pytest.raises(Overloaded, match="answering"):
            await home.residency.unload("small")
        hold.set()
        assert text_of([item async for item in items]) == "b"
    await until(lambda: here(home) == set())


async def test_the_least_recently_used_leaves_for_another(start: Any) -> None:
    home = await start(memory_mib=25)
    await ask(home, "small")
    await ask(home, "other")
    await ask(home, "small")
    await ask(home, "third")
    assert here(home) == {"small", "third"}


async def test_a_model_that_cannot_fit_is_refused_with_numbers(start: Any) -> None:
    home = Home(sizes={"huge": 80 * MIB})
    await start(home, own_bytes=10 * MIB)  # 60 % of 100 MiB are for models
    with pytest.raises(EngineUnavailable, match=r"80 MiB; of 60 MiB .* own 10 MiB"):
        await ask(home, "huge")
    assert home.residency is not None
    assert home.residency.state_of("huge")[0] == "failed"


async def test_a_model_that_fits_when_others_are_done_is_to_be_asked_for_again(start: Any) -> None:
    hold = asyncio.Event()
    SCRIPTS["llama_cpp"] = Script(answers=[["a", hold]])
    home = await start(memory_mib=15)
    assert home.residency is not None
    async with aclosing(home.residency.generate(question("small"), 10)) as items:
        while not (await anext(items)).text:
            pass
        with pytest.raises(Overloaded, match="answering") as refused:
            await ask(home, "other")
        assert refused.value.retry_after_s > 1
    hold.set()


async def test_a_model_that_cannot_be_loaded_says_why_and_is_tried_again_when_asked(start: Any) -> None:
    home = await start()
    SCRIPTS["llama_cpp"].starts = [EngineUnavailable("a broken file")] * 1000
    with pytest.raises(EngineUnavailable, match="a broken file"):
        await ask(home, "small")
    assert home.residency is not None
    assert home.residency.state_of("small") == ("failed", "model 'small' cannot be loaded: a broken file")
    SCRIPTS["llama_cpp"].starts.clear()
    assert text_of(await ask(home, "small")) == "ok"
    assert home.residency.state_of("small") == ("loaded", "")
    assert home.residency.reasons == {}


async def test_low_memory_of_the_pc_unloads_what_is_idle(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occupancy, "LOOK_S", 0.01)
    home = await start()
    await ask(home, "small", keep_alive_s=-1.0)
    await ask(home, "other")
    home.available = occupancy.RESERVE_BYTES - 1
    await until(lambda: here(home) == set())
    assert home.residency is not None
    assert home.residency.ready


async def test_the_own_model_leaves_when_idle_where_that_is_set_and_comes_back(start: Any) -> None:
    home = await start(unload_idle_s=0.05)
    assert home.residency is not None
    await until(lambda: "" not in home.residency._here)
    assert home.residency.ready
    assert home.residency.infos()[0].model == "llama_cpp-model"
    items = await ask(home)
    assert items[0].loading
    assert text_of(items) == "ok"
    assert text_of(await ask(home, "llama_cpp-model")) == "ok"


async def test_the_own_model_stays_where_nothing_is_set(start: Any) -> None:
    home = await start(memory_mib=15, own_bytes=10 * MIB)
    with pytest.raises(EngineUnavailable):
        await ask(home, "small")
    assert text_of(await ask(home)) == "ok"


async def test_a_file_is_fetched_before_it_is_loaded_and_the_reader_is_told(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residency_module, "TELL_S", 0.0)
    order: list[str] = []
    home = Home()

    async def fetch(name: str) -> AsyncGenerator[None, None]:
        assert name not in home.loads
        for _ in range(3):
            order.append(name)
            yield

    await start(home, fetch=fetch)
    items = await ask(home, "small")
    assert order == ["small"] * 3
    assert sum(item.loading for item in items) >= 4
    assert text_of(items) == "ok"


async def test_a_fetch_that_fails_is_the_readers_answer(start: Any) -> None:
    async def fetch(name: str) -> AsyncGenerator[None, None]:
        raise Overloaded("it is being fetched: 3 % of 9 GB", retry_after_s=90)
        yield

    home = await start(fetch=fetch)
    with pytest.raises(Overloaded, match="3 % of 9 GB"):
        await ask(home, "small")
    assert here(home) == set()


async def test_load_times_are_kept_for_own_and_other_models(start: Any) -> None:
    home = await start()
    await ask(home, "small")
    assert home.residency is not None
    await until(lambda: len(home.residency.load_s) == 2)
    assert set(home.residency.load_s) == {("llama_cpp", "llama_cpp-model"), ("llama_cpp", "small")}


async def test_unloading_frees_it_now(start: Any) -> None:
    home = await start()
    await ask(home, "small")
    assert home.residency is not None
    assert await home.residency.unload("small")
    assert here(home) == set()
    assert not await home.residency.unload("small")


async def test_every_model_in_memory_is_told_to_keep_nothing(start: Any) -> None:
    home = await start()
    await ask(home, "small")
    await ask(home)
    await home.residency.keep_nothing()
    assert sum(script.dropped for script in SCRIPTS.values()) == len(home.residency.loaded()) + 1


async def test_a_model_is_unloaded_whole_though_who_asked_for_it_leaves(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await start()
    await ask(home, "small")
    begun, gate, stopped = asyncio.Event(), asyncio.Event(), []

    async def stop(engine: ScriptedEngine) -> None:
        begun.set()
        await gate.wait()
        stopped.append(engine._model)

    monkeypatch.setattr(ScriptedEngine, "stop", stop)
    assert home.residency is not None
    unloading = asyncio.create_task(home.residency.unload("small"))
    await begun.wait()
    unloading.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await unloading
    assert stopped == ["small"]
