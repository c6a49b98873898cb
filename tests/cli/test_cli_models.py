"""`tarsd models` and `tarsd bench` as a person and as a program meet them."""

from __future__ import annotations

import json

import pytest

from tarsd import calls
from tarsd.calls import MeasureItem, Model, ModelsItem, PullItem
from tarsd.cli.models import Pace, in_bytes, in_short
from tarsd.cli.models_words import ENGLISH, SPANISH
from tarsd.errors import Overloaded
from tests.api.test_api_models import MEMBERS, REPLIES, SPEED

KEY = {"TARSD_TOKEN": "the-admin-token"}
LISTED = [
    Model(
        "small",
        "loaded",
        "bundled",
        size_bytes=98_000_000,
        engine="llama_cpp",
        context_tokens=8192,
        architecture="llama",
        parameters=134_515_008,
        quantization="Q4_1",
        expires_s=120.0,
        speed=SPEED,
    ),
    Model("far", "absent", "hf:a/b/far.gguf"),
    Model("bad", "failed", reason="it does not begin as a GGUF file does"),
]


@pytest.fixture
async def served(serve):
    return await serve(replies=REPLIES | {calls.MODELS.name: [ModelsItem(LISTED)]}, members=lambda: MEMBERS[:1])


@pytest.mark.parametrize("command", [("models",), ("models", "list")])
async def test_models_are_a_table_for_people(served, tarsd, command):
    ended = await tarsd("--api", served.url, *command)
    assert ended.code == 0
    rows = [line.split("  ") for line in ended.out.splitlines()]
    found = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert found[0] == list(ENGLISH.list_header)
    assert found[1] == [
        "pc1", "small", "loaded", "98.0 MB", "135M", "llama Q4_1", "8192", "llama_cpp", "40.5",
        "leaves memory in 120 s",
    ]  # fmt: skip
    assert found[2][-1] == "hf:a/b/far.gguf"
    assert found[3][-1] == "it does not begin as a GGUF file does"


async def test_models_are_json_for_programs(served, tarsd):
    ended = await tarsd("--api", served.url, "--json", "models", "list")
    assert json.loads(ended.out)["models"][0]["node"] == "pc1"


async def test_no_models_at_all_is_exit_code_1(serve, tarsd):
    served = await serve(replies={calls.MODELS.name: [ModelsItem([])]}, members=lambda: MEMBERS[:1])
    ended = await tarsd("--api", served.url, "--lang", "es", "models")
    assert ended.code == 1
    assert SPANISH.none in ended.out


async def test_a_pull_shows_its_stages_and_where_it_came_from(served, tarsd):
    ended = await tarsd("--api", served.url, "models", "pull", "m", **KEY)
    assert ended.code == 0
    assert "m is here, from pc2 (sha256 aaaaaaaaaaaaaaaa)" in ended.out
    for stage in ("looking for it", "fetching", "verifying", "done"):
        assert f"m: {stage}" in ended.err


async def test_a_pull_in_spanish(served, tarsd):
    ended = await tarsd("--api", served.url, "--lang", "es", "models", "pull", "m", **KEY)
    assert "m está aquí, de pc2" in ended.out
    assert "m: descargando" in ended.err


async def test_a_pull_is_lines_for_programs(served, tarsd):
    ended = await tarsd("--api", served.url, "models", "pull", "m", "--json", **KEY)
    assert [json.loads(line)["status"] for line in ended.out.splitlines()][-1] == "success"
    assert ended.err == ""


async def test_a_pull_that_fails_says_why(serve, tarsd):
    failed = [PullItem("m", "asking"), PullItem("m", "failed", reason="the disk is full")]
    served = await serve(replies={calls.PULL.name: failed}, members=lambda: MEMBERS)
    ended = await tarsd("--api", served.url, "models", "pull", "m", **KEY)
    assert ended.code == 69
    assert "tarsd: the disk is full" in ended.err


async def test_changing_models_without_the_right_is_exit_code_77(served, tarsd):
    assert (await tarsd("--api", served.url, "models", "pull", "m")).code == 77
    assert (await tarsd("--api", served.url, "bench")).code == 77


async def test_removing_asks_first(served, start, tarsd):
    running = await start("--api", served.url, "models", "rm", "m", **KEY)
    running.write("no\n")
    ended = await running.ended()
    assert ended.code == 1
    assert "Remove m?" in ended.err
    assert served.dispatch.calls == []
    ended = await tarsd("--api", served.url, "models", "rm", "m", "--yes", **KEY)
    assert (ended.code, ended.out) == (0, "m: deleted, 5 B freed.\n")


@pytest.mark.parametrize("command", [("bench",), ("models", "bench")])
async def test_bench_shows_figures_and_what_could_not_be_measured(served, tarsd, command):
    ended = await tarsd("--api", served.url, *command, "--quick", **KEY)
    assert ended.code == 1  # one of them failed
    for told in ("0.30 s", "200 ms", "200.0", "40.5", "90.2 (4 at once)", "222.0 MB"):
        assert told in ended.out
    assert "not measured: x with y: broken" in ended.err
    assert not any(line.startswith(":") for line in ended.err.splitlines())  # what is done has no name before it


async def test_bench_is_well_where_all_was_measured(serve, tarsd):
    served = await serve(replies={calls.MEASURE.name: [MeasureItem(speed=SPEED)]}, members=lambda: MEMBERS)
    ended = await tarsd("--api", served.url, "--lang", "es", "bench", "m", "--node", "pc2", **KEY)
    assert ended.code == 0
    assert ended.out.splitlines()[0].split()[0] == "motor"
    _, request, options = served.dispatch.calls[-1]
    assert (request.models, options["only"]) == (["m"], MEMBERS[1].node)


async def test_a_node_that_is_measured_already_is_exit_code_69(serve, tarsd):
    served = await serve(replies={calls.MEASURE.name: [Overloaded("already")]}, members=lambda: MEMBERS)
    assert (await tarsd("--api", served.url, "bench", **KEY)).code == 69


def test_numbers_are_shown_as_people_read_them() -> None:
    assert [in_bytes(n) for n in (5, 1_500, 98_000_000, 4_700_000_000, 10**16)] == [
        "5 B",
        "2 kB",
        "98.0 MB",
        "4.7 GB",
        "10000.0 TB",
    ]
    assert [in_short(n) for n in (0, 900, 134_515_008, 596_000_000, 7_200_000_000, 70_000_000_000)] == [
        "-",
        "900",
        "135M",
        "596M",
        "7.2B",
        "70B",
    ]


def test_the_speed_of_a_pull_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    assert pace.took(0, 0.0) == 0.0
    assert pace.took(100, 1.0) == 100.0
    assert pace.took(100, 10.0) == 0.0
    assert pace.took(300, 11.0) == 200.0
    assert pace.took(0, 12.0) == 0.0  # another stage begins


def test_both_languages_have_the_same_stages_and_states() -> None:
    assert ENGLISH.states.keys() == SPANISH.states.keys()
    assert ENGLISH.stages.keys() == SPANISH.stages.keys()
    assert len(ENGLISH.list_header) == len(SPANISH.list_header)
    assert len(ENGLISH.bench_header) == len(SPANISH.bench_header)
