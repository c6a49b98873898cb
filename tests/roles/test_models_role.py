"""What a node tells of its models, gives to peers, takes in and removes; and how they become engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import Model, ModelFileItem, ModelFileRequest, ModelsRequest, PullItem, PullRequest, RemoveModelRequest
from tarsd.config import CatalogModel, Config, Engine, Models, Node
from tarsd.errors import InvalidInput, NotAllowed, NotFound, Overloaded, Unavailable
from tarsd.models.shelf import Shelf
from tarsd.roles import loading as loading_module
from tarsd.roles.base import Services
from tarsd.roles.loading import OVERHEAD_BYTES, Loading, too_long_s
from tarsd.roles.models import Models as ModelsRole
from tarsd.roles.models import names_on_demand
from tests.engines.scripted_engine import SCRIPTS, Script
from tests.models.model_files import gguf_bytes, sha256
from tests.roles.role_help import SERVED, one
from tests.roles.scripted_models import running, script_engines

DATA = gguf_bytes(size=2_500_000)


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    script_engines(monkeypatch)


def config_with(folder: Path, *catalog: CatalogModel) -> Config:
    return Config(node=Node(data_dir=folder), models=Models(catalog=catalog))


def services(config: Config) -> Services:
    return Services(
        config=config,
        identity=None,  # type: ignore[arg-type]
        store=None,  # type: ignore[arg-type]
        dispatch=None,  # type: ignore[arg-type]
        members=tuple,
    )


def put(folder: Path, name: str, data: bytes = DATA) -> Path:
    (folder / "models").mkdir(exist_ok=True)
    path = folder / "models" / f"{name}.gguf"
    path.write_bytes(data)
    return path


@pytest.fixture
async def role(tmp_path: Path) -> AsyncGenerator[ModelsRole, None]:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(DATA)
    catalog = (CatalogModel(name="mine", source=str(mine)), CatalogModel(name="far", source="hf:a/b/far.gguf"))
    config = config_with(tmp_path, *catalog)
    shelf = Shelf(config, None)
    put(tmp_path, "pulled", gguf_bytes(seed=5, size=10_000))
    async with running(Loading(shelf).find) as residency:
        yield ModelsRole(services(config), shelf, residency)


async def given_of(role: ModelsRole, **request: Any) -> list[ModelFileItem]:
    handler = role.handlers()[calls.MODEL_FILE.name]
    async with aclosing(handler(ModelFileRequest(**request), SERVED)) as items:  # type: ignore[arg-type]
        return [item async for item in items]


@pytest.mark.parametrize("asked", [{"name": "mine"}, {"sha256": sha256(DATA)}, {"name": "x", "sha256": sha256(DATA)}])
async def test_a_file_is_given_by_name_or_hash(role: ModelsRole, asked: dict[str, str]) -> None:
    items = await given_of(role, **asked)
    assert b"".join(item.data for item in items) == DATA
    assert (items[0].size_bytes, items[0].sha256) == (len(DATA), sha256(DATA))
    assert len(items) == 3


async def test_a_file_is_given_from_any_offset(role: ModelsRole) -> None:
    items = await given_of(role, name="mine", offset=2_000_000)
    assert b"".join(item.data for item in items) == DATA[2_000_000:]
    assert items[0].size_bytes == len(DATA)
    assert [item.data for item in await given_of(role, name="mine", offset=len(DATA))] == [b""]
    with pytest.raises(InvalidInput, match="offset"):
        await given_of(role, name="mine", offset=len(DATA) + 1)
    with pytest.raises(InvalidInput, match="offset"):
        await given_of(role, name="mine", offset=-1)


@pytest.mark.parametrize(
    "asked", [{"name": "far"}, {"name": "nobody"}, {"sha256": "0" * 64}, {"name": "mine", "sha256": "0" * 64}, {}]
)
async def test_what_is_not_here_is_not_found(role: ModelsRole, asked: dict[str, str]) -> None:
    with pytest.raises(NotFound):
        await given_of(role, **asked)


async def test_nothing_but_models_is_ever_given(role: ModelsRole) -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "mine.gguf"):
        with pytest.raises(NotFound):
            await given_of(role, name=name)


async def listed(role: ModelsRole) -> dict[str, Model]:
    item = await one(role.handlers()[calls.MODELS.name], ModelsRequest())
    return {model.name: model for model in item.models}


async def test_models_are_told_with_their_state(role: ModelsRole) -> None:
    models = await listed(role)
    assert {name: model.state for name, model in models.items()} == {
        "llama_cpp-model": "loaded",
        "mine": "present",
        "far": "absent",
        "pulled": "present",
    }
    assert models["mine"].size_bytes == len(DATA)
    assert next(iter(models)) == "llama_cpp-model"
    only = await one(role.handlers()[calls.MODELS.name], ModelsRequest("far"))
    assert [model.name for model in only.models] == ["far"]


async def test_a_loaded_model_is_told_so_with_its_time(role: ModelsRole) -> None:
    SCRIPTS.setdefault("llama_cpp", Script())
    assert role._residency is not None
    request = calls.ChatRequest([calls.Message("user", "hi")], model="mine")
    async with aclosing(role._residency.generate(request, 5)) as items:
        assert [item.text async for item in items if item.text] == ["ok"]
    model = (await listed(role))["mine"]
    assert model.state == "loaded"
    assert model.expires_s == pytest.approx(300, abs=5)


async def test_a_broken_file_is_told_as_failed(role: ModelsRole, tmp_path: Path) -> None:
    put(tmp_path, "broken", b"no model")
    model = (await listed(role))["broken"]
    assert model.state == "failed"
    assert "does not begin" in model.reason


async def test_only_what_tarsd_fetched_is_deleted(role: ModelsRole, tmp_path: Path) -> None:
    remove = role.handlers()[calls.REMOVE_MODEL.name]
    gone = await one(remove, RemoveModelRequest("pulled"))
    assert (gone.freed_bytes, gone.detail) == (10_000, "deleted")
    assert "pulled" not in await listed(role)
    kept = await one(remove, RemoveModelRequest("mine"))
    assert kept.freed_bytes == 0
    assert "stays" in kept.detail
    assert "mine" in await listed(role)
    with pytest.raises(NotFound):
        await one(remove, RemoveModelRequest("nobody"))


async def test_a_model_that_is_being_fetched_is_not_removed(role: ModelsRole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role.pulls, "state_of", lambda name: PullItem(name, "fetching", 3, 9))
    with pytest.raises(NotAllowed, match="being fetched"):
        await one(role.handlers()[calls.REMOVE_MODEL.name], RemoveModelRequest("pulled"))
    assert "pulled" in role.shelf.store.names()
    model = (await listed(role))["pulled"]
    assert (model.state, model.reason) == ("pulling", "fetching 3 of 9 bytes")


async def test_a_model_is_unloaded_before_it_is_deleted(role: ModelsRole) -> None:
    assert role._residency is not None
    request = calls.ChatRequest([calls.Message("user", "hi")], model="pulled")
    async with aclosing(role._residency.generate(request, 5)) as items:
        assert [item.text async for item in items if item.text] == ["ok"]
    await one(role.handlers()[calls.REMOVE_MODEL.name], RemoveModelRequest("pulled"))
    assert role._residency.loaded() == {}


async def test_the_model_of_cognitive_is_not_removed(tmp_path: Path) -> None:
    put(tmp_path, "llama_cpp-model")
    config = config_with(tmp_path)
    async with running() as residency:
        role = ModelsRole(services(config), Shelf(config, None), residency)
        with pytest.raises(NotAllowed, match="the model of"):
            await one(role.handlers()[calls.REMOVE_MODEL.name], RemoveModelRequest("llama_cpp-model"))
    assert Shelf(config, None).store.names() == ["llama_cpp-model"]


async def test_the_model_of_cognitive_is_told_once_though_the_catalog_calls_it_otherwise(tmp_path: Path) -> None:
    path = put(tmp_path, "llama_cpp-model")
    config = config_with(tmp_path, CatalogModel(name="nice-name", source=str(path)))
    async with running() as residency:
        models = await listed(ModelsRole(services(config), Shelf(config, None), residency))
    assert {name: model.state for name, model in models.items()} == {"llama_cpp-model": "loaded"}
    assert models["llama_cpp-model"].size_bytes == len(DATA)


def test_a_node_without_models_of_its_own_only_gives_what_it_has(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    role = ModelsRole(services(config), Shelf(config, None))
    assert set(role.handlers()) == {calls.MODEL_FILE.name}
    assert role.adverts() == {}
    put(tmp_path, "pulled")
    role._look_again()
    assert set(role.adverts()) == {calls.MODEL_FILE.name}


def test_names_on_demand_are_told_as_far_as_they_fit(tmp_path: Path) -> None:
    catalog = [CatalogModel(name=f"model-{i:03}", source="") for i in range(50)]
    catalog.append(CatalogModel(name="gone", source="/no/such/file.gguf"))
    entries = Shelf(config_with(tmp_path, *catalog), None).entries()
    told = names_on_demand(entries, ["model-000"], 640)
    assert told[0] == "model-001"
    assert "gone" not in told
    assert sum(len(name) + 3 for name in told) <= 640
    assert len(told) == 49
    assert len(names_on_demand(entries, [], 100)) == 8
    assert len(names_on_demand(entries, [], 10_000, most=20)) == 20


# --- how they become engines ------------------------------------------------------------------------------------------


def loading(folder: Path, *catalog: CatalogModel, bundled: Path | None = None) -> Loading:
    return Loading(Shelf(config_with(folder, *catalog), bundled))


def test_an_own_engine_may_name_a_model_of_the_catalog(tmp_path: Path) -> None:
    mine = put(tmp_path, "mine")
    found = loading(tmp_path, CatalogModel(name="mine", source=str(mine)), CatalogModel(name="far")).own(
        [
            Engine(kind="llama_cpp", model="mine"),
            Engine(kind="llama_cpp", model="far"),
            Engine(kind="ollama", model="x"),
        ]
    )
    assert [engine.model for engine in found.engines] == [str(mine), str(tmp_path / "models" / "far.gguf"), "x"]
    assert (found.names, found.absent) == (("mine", "far"), ("far",))
    assert found.needs_bytes == len(DATA) + OVERHEAD_BYTES


def test_the_bundled_model_counts_too(tmp_path: Path) -> None:
    found = loading(tmp_path, bundled=put(tmp_path, "b")).own([Engine(kind="llama_cpp")])
    assert [engine.model for engine in found.engines] == [""]
    assert found.needs_bytes > len(DATA)


def test_settings_of_the_catalog_reach_the_engine(tmp_path: Path) -> None:
    put(tmp_path, "m")
    listed = CatalogModel(name="m", context_tokens=512, threads=3, gpu_layers=0, slots=2, cache_tokens=1024)
    found = loading(tmp_path, listed).find("m")
    assert found is not None
    engine = found.settings
    assert (engine.context_tokens, engine.threads, engine.gpu_layers, engine.slots, engine.cache_tokens) == (
        512,
        3,
        0,
        2,
        1024,
    )


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "wrong")
    known = loading(
        tmp_path, CatalogModel(name="wrong", sha256="0" * 64), CatalogModel(name="gone", source="/no/file.gguf")
    )
    assert known.find("nobody") is None
    with pytest.raises(InvalidInput, match="the catalog says"):
        known.find("wrong")
    with pytest.raises(Unavailable, match=r"/no/file\.gguf"):
        known.find("gone")


async def fetched(known: Loading, *items: PullItem) -> int:
    async def follow(request: PullRequest) -> AsyncGenerator[PullItem, None]:
        for item in items:
            yield item

    known.follow = follow
    async with aclosing(known.fetch("far")) as steps:
        return len([step async for step in steps])


async def test_an_absent_model_is_pulled_and_waited_for(tmp_path: Path) -> None:
    known = loading(tmp_path, CatalogModel(name="far"))
    assert await fetched(known, PullItem("far", "fetching", 5, 10), PullItem("far", "done", 10, 10)) == 2
    with pytest.raises(Unavailable, match="nobody has it"):
        await fetched(known, PullItem("far", "failed", reason="nobody has it"))
    put(tmp_path, "far")
    assert await fetched(known, PullItem("far", "failed")) == 0


async def test_a_large_one_is_refused_with_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading_module, "SURE_AFTER_S", 0.0)
    monkeypatch.setattr(loading_module, "WAIT_S", 0.001)
    known = loading(tmp_path, CatalogModel(name="far"))
    with pytest.raises(Overloaded, match="50% of 4 MiB"):
        await fetched(known, PullItem("far", "fetching", 2 << 20, 4 << 20, "pc2"))


@pytest.mark.parametrize(
    ("done", "since_s", "waits"),
    [
        (0, 1.0, True),  # too early to say
        (100, 10.0, False),  # 10 a second, 900 left
        (500, 10.0, True),
        (1000, 59.0, True),
        (999, 60.0, False),
        (0, 30.0, False),
    ],
)
def test_a_question_waits_as_long_as_it_looks_like_a_minute(done: int, since_s: float, waits: bool) -> None:
    item = PullItem("far", "fetching", done, 1000)
    assert (too_long_s(item, 0, since_s) == 0.0) == waits


async def test_own_models_are_brought_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading_module, "FIRST_AGAIN_S", 0.001)
    known, tries = loading(tmp_path, CatalogModel(name="far")), []

    async def follow(request: PullRequest) -> AsyncGenerator[PullItem, None]:
        tries.append(request.name)
        if len(tries) == 2:
            raise Overloaded("later")
        yield PullItem("far", "done" if len(tries) == 3 else "failed")

    known.follow = follow
    async with asyncio.timeout(30):
        await known.bring(["far"])
    assert tries == ["far"] * 3
