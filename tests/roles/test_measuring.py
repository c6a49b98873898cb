"""Measuring: real runs, medians of undisturbed rounds, people first, kept through restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tarsd import calls, config
from tarsd.calls import MeasureItem, MeasureRequest, Speed
from tarsd.engines.residency import Residency
from tarsd.engines.resident import Loadable
from tarsd.errors import EngineUnavailable, NotFound, Overloaded
from tarsd.models.speeds import SpeedBook
from tarsd.roles import measuring
from tarsd.roles.measuring import Measurer, Timing
from tests.engines.conftest import until
from tests.engines.scripted_engine import SCRIPTS, Script, ScriptedEngine
from tests.roles.scripted_models import running, script_engines

TEN = ["word "] * 10


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    script_engines(monkeypatch)
    monkeypatch.setattr(measuring, "LOOK_S", 0.005)


def find(name: str) -> Loadable | None:
    return Loadable(name, config.Engine(kind="llama_cpp", model=name), 0) if name == "second" else None


@pytest.fixture
async def residency() -> AsyncGenerator[Residency, None]:
    async with running(find) as started:
        yield started


def measurer(residency: Residency, folder: Path) -> Measurer:
    return Measurer(residency, SpeedBook(folder), lambda name: 3 if name == "second" else None)


async def measure(measurer: Measurer, *models: str, quick: bool = True) -> list[MeasureItem]:
    async with asyncio.timeout(30), aclosing(measurer.measure(MeasureRequest(list(models), quick))) as items:
        return [item async for item in items]


def speeds_in(items: list[MeasureItem]) -> list[Speed]:
    return [item.speed for item in items if item.speed is not None]


async def person(residency: Residency) -> str:
    request = calls.ChatRequest([calls.Message("user", "when?")])
    async with aclosing(residency.generate(request, 10)) as items:
        return "".join([item.text async for item in items])


async def test_the_own_engine_is_run_and_its_speed_kept(residency: Residency, tmp_path: Path) -> None:
    SCRIPTS["llama_cpp"] = script = Script(answers=[TEN])
    residency._here[""].chain.engines[0]._script = script  # type: ignore[attr-defined]
    (speed,) = speeds_in(await measure(measurer(residency, tmp_path), quick=False))
    assert (speed.engine, speed.model, speed.together) == ("llama_cpp", "llama_cpp-model", 1)
    assert speed.tokens_per_s > 0
    assert speed.prompt_tokens_per_s > 0
    assert speed.together_tokens_per_s > 0
    assert len(script.asked) == 1 + 3 * 3  # a first one, then three rounds of three kinds
    assert all(request.background for request in script.asked)
    prompts = [request.messages[0].content for request in script.asked]
    assert len(set(prompts)) == len(prompts)  # no cache can hold one
    assert SpeedBook(tmp_path).of("llama_cpp", "llama_cpp-model") == speed


async def test_a_model_on_demand_is_loaded_for_it(residency: Residency, tmp_path: Path) -> None:
    SCRIPTS["llama_cpp"].answers = [TEN]
    (speed,) = speeds_in(await measure(measurer(residency, tmp_path), "second"))
    assert (speed.model, speed.threads) == ("second", 3)
    assert SpeedBook(tmp_path).of_model("second") == speed


async def test_an_unknown_model_is_refused(residency: Residency, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await measure(measurer(residency, tmp_path), "nobody")


async def test_one_measurement_at_a_time(residency: Residency, tmp_path: Path) -> None:
    one = measurer(residency, tmp_path)
    first = one.measure(MeasureRequest())
    await anext(first)
    with pytest.raises(Overloaded, match="already"):
        await measure(one)
    await first.aclose()
    assert speeds_in(await measure(one))


async def test_it_waits_until_nobody_is_answered(residency: Residency, tmp_path: Path) -> None:
    done = asyncio.Event()
    script = SCRIPTS["llama_cpp"]
    script.answers = [["a", done, "b"], TEN]
    talking = asyncio.create_task(person(residency))
    await until(lambda: len(script.asked) == 1)
    measuring_now = asyncio.create_task(measure(measurer(residency, tmp_path)))
    await asyncio.sleep(0.05)  # it would have asked by now
    assert len(script.asked) == 1
    done.set()
    assert await talking == "ab"
    assert speeds_in(await measuring_now)


async def test_a_round_that_a_person_disturbed_is_thrown_away_and_done_again(
    residency: Residency, tmp_path: Path
) -> None:
    never = asyncio.Event()
    script = SCRIPTS["llama_cpp"]
    script.answers = [TEN, ["w ", never], ["for you"], TEN]
    measuring_now = asyncio.create_task(measure(measurer(residency, tmp_path)))
    await until(lambda: len(script.asked) == 2)
    assert await person(residency) == "for you"  # at once: nothing ever came to the one that was measured
    assert speeds_in(await measuring_now)
    # first, disturbed, the person's, the rest of the disturbed one, that round again, answer, together
    assert len(script.asked) == 7


async def test_an_engine_that_fails_is_told_and_no_other_is_measured_in_its_place(tmp_path: Path) -> None:
    async with running(kinds=("llama_cpp", "ollama")) as residency:
        await until(lambda: len(residency.infos()) == 2)
        SCRIPTS["llama_cpp"].answers = [[EngineUnavailable("it broke")]]
        items = await measure(measurer(residency, tmp_path), "llama_cpp")
    assert speeds_in(items) == []
    assert any("it broke" in item.failed for item in items)
    assert SpeedBook(tmp_path).of("ollama", "ollama-model") is None


async def test_what_runs_here_is_measured_once_by_itself(
    residency: Residency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "FIRST_AFTER_S", 0.0)
    here = SimpleNamespace(rss_bytes=lambda: 77)
    monkeypatch.setattr(ScriptedEngine, "worker", here, raising=False)
    monkeypatch.setattr(ScriptedEngine, "settings", config.Engine(kind="llama_cpp", threads=2), raising=False)
    await measurer(residency, tmp_path).measure_what_is_new()
    kept = SpeedBook(tmp_path).of("llama_cpp", "llama_cpp-model")
    assert kept is not None
    assert (kept.threads, kept.memory_bytes) == (2, 77)
    asked = len(SCRIPTS["llama_cpp"].asked)
    await measurer(residency, tmp_path).measure_what_is_new()
    assert len(SCRIPTS["llama_cpp"].asked) == asked
    monkeypatch.setattr(ScriptedEngine, "settings", config.Engine(kind="llama_cpp", threads=3))
    await measurer(residency, tmp_path).measure_what_is_new()
    assert len(SCRIPTS["llama_cpp"].asked) > asked


async def test_a_server_elsewhere_is_not_measured_by_itself(
    residency: Residency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "FIRST_AFTER_S", 0.0)
    await measurer(residency, tmp_path).measure_what_is_new()
    assert SCRIPTS["llama_cpp"].asked == []


def test_speeds_leave_out_what_they_are_not_of() -> None:
    timing = Timing(prompt_tokens=100, first_s=2.0, tokens=21, last_s=4.0)
    assert timing.prompt_tokens_per_s == 50
    assert timing.tokens_per_s == 10


def test_a_broken_book_of_speeds_is_set_aside(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "speed.json").write_text("[{")
    assert SpeedBook(tmp_path).of("a", "b") is None
    assert "set aside" in caplog.text
    assert (tmp_path / "speed.json.broken").exists()
    book = SpeedBook(tmp_path)
    book.note(Speed("a", "b", at=1.0))
    book.note(Speed("c", "b", at=2.0))
    assert SpeedBook(tmp_path).of_model("b") == Speed("c", "b", at=2.0)
