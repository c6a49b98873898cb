import argparse
import asyncio
import json
import subprocess
import sys
import types

import msgspec
import pytest

import bench.__main__ as command_line
from bench.daemon import free_ports
from bench.harness import Context, Row, number, table
from bench.quiet import Foreign, own_s


def row(**more):
    return Row(**({"figure": "round trip", "unit": "ms", "samples": [2.0, 1.0, 3.0]} | more))


def test_a_figure_is_a_median_with_its_range():
    text = table([row()])
    assert "| round trip | 2.00     | 1.00-3.00 | ms   |" in text


def test_an_aim_is_met_or_missed_by_the_median():
    assert row(aim=2.0).verdict == "met"
    assert row(aim=1.9).verdict == "missed"
    assert row(aim=2.1, aim_is=">=").verdict == "missed"
    assert row().verdict == "no aim"


def test_an_aim_on_the_ratio_looks_at_the_ratio():
    fast = row(aim=0.97, aim_is=">=", aim_on="ratio", reference=[2.0], reference_name="bare")
    assert fast.ratio == 1.0
    assert fast.verdict == "met"
    assert "2.00 bare" in table([fast])
    assert row(aim=0.97, aim_is=">=", aim_on="ratio", reference=[4.0]).verdict == "missed"


def test_a_contended_run_can_meet_an_aim_but_not_miss_it():
    assert row(aim=1.0, contended=True, foreign_cpu=1.2).verdict == "contended"
    assert row(aim=2.0, contended=True).verdict == "met"
    assert "not met; others used 1.2 CPU" in table([row(aim=1.0, contended=True, foreign_cpu=1.2)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00123, "0.00123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234"), (-5, "-5.00")],
)
def test_numbers_are_short_and_without_exponents(value, text):
    assert number(value) == text


def test_the_work_of_ended_children_is_our_own():
    before = own_s()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    assert own_s() - before >= 0.05


def test_foreign_work_is_seen(monkeypatch):
    monkeypatch.setattr("bench.quiet.busy_s", iter([100.0, 103.0]).__next__)
    monkeypatch.setattr("bench.quiet.own_s", iter([10.0, 11.0]).__next__)
    monkeypatch.setattr("bench.quiet.time.monotonic", iter([0.0, 2.0]).__next__)
    with Foreign() as foreign:
        pass
    assert foreign.share == 1.0
    assert foreign.contended


async def test_rows_made_inside_a_watch_are_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(Foreign, "contended", True)
    context = Context(quick=True, options=argparse.Namespace(), folder=tmp_path)
    rows = [row(figure="before")]
    async with context.watched(rows):
        rows.append(row(figure="inside"))
    assert [each.contended for each in rows] == [False, True]
    assert context.pick(3, 30) == 3


@pytest.fixture
def a_bench(monkeypatch, tmp_path):
    """The command line with one invented bench."""

    async def run(context):
        await asyncio.sleep(0)
        return [row(aim=context.options.aim)]

    module = types.ModuleType("invented")
    module.__doc__ = "Measures nothing."
    module.NAME = "invented"
    module.arguments = lambda parser: parser.add_argument("--aim", type=float, default=5.0)
    module.run = run
    monkeypatch.setattr(command_line, "benches", lambda: {"invented": module})
    monkeypatch.chdir(tmp_path)
    return module


def test_a_bench_prints_its_table_and_writes_the_same_rows(a_bench, tmp_path, capsys):
    assert command_line.main(["invented", "--quick", "--json", "out/rows.json"]) == 0
    assert "round trip" in capsys.readouterr().out
    (report,) = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert report["bench"] == "invented"
    assert report["quick"] is True
    assert msgspec.convert(report["rows"][0], Row) == row(aim=5.0)


def test_a_missed_aim_is_an_exit_code(a_bench, capsys):
    assert command_line.main(["invented", "--aim", "1"]) == 1
    assert "missed: round trip" in capsys.readouterr().err


def test_all_runs_each_with_its_own_defaults_and_leaves_out_the_long_ones(a_bench, capsys):
    assert command_line.main(["all", "--quick"]) == 0
    assert "round trip" in capsys.readouterr().out
    a_bench.IN_ALL = False
    assert command_line.main(["all", "--quick"]) == 0
    assert "round trip" not in capsys.readouterr().out


def test_every_module_that_calls_itself_a_bench_can_be_run():
    for name, module in command_line.benches().items():
        assert asyncio.iscoroutinefunction(module.run), name
        assert module.__doc__, name


def test_free_ports_are_different_and_free():
    ports = free_ports(20)
    assert len(set(ports)) == 20
