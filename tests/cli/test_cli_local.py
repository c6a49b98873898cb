"""Commands that need no running node: help, config, init, join; and how the command line is read."""

from __future__ import annotations

import argparse
import json
import tomllib

import pytest

from tarsd.cli import exits
from tarsd.cli.language import texts_for
from tarsd.cli.parser import build_parser, duration
from tarsd.cli.terminal import printable, table
from tarsd.config import load_config
from tarsd.errors import ConfigError, InviteError, PeerLost, StorageError

COMMANDS = "run init invite join ask chat ingest search members status nightly config".split()  # noqa: SIM905
HEAVY = ("aiohttp", "asyncio", "cryptography", "msgspec", "ssl", "tarsd.config")


async def test_help_teaches_and_imports_nothing_heavy(tarsd):
    ended = await tarsd("--help", PYTHONPROFILEIMPORTTIME="1")
    assert ended.code == 0
    assert all(f"    {name} " in ended.out for name in COMMANDS)
    assert "tarsd ingest ~/Documents" in ended.out
    imported = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert imported & set(HEAVY) == set()
    assert "tarsd.cli.parser" in imported


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_has_help_with_an_example(tarsd, name):
    ended = await tarsd(name, "--help")
    assert ended.code == 0
    assert f"\n  tarsd {name}" in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["ask", "--loud"],
        ["invite", "--zone", "moon"],
        ["invite", "--expires", "soon"],
        ["config"],
        ["join"],
    ],
)
async def test_wrong_usage_is_64_and_keeps_standard_output_clean(tarsd, arguments):
    ended = await tarsd(*arguments)
    assert (ended.code, ended.out) == (64, "")
    assert "--help" in ended.err


def test_shared_options_stand_before_or_after_the_command():
    before = build_parser().parse_args(["--config", "x", "--json", "ask", "q"])
    after = build_parser().parse_args(["ask", "q", "--config", "x", "--json"])
    assert (before.config, before.json) == (after.config, after.json) == ("x", True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("120", 120), ("30m", 1800), ("1.5h", 5400), ("2d", 172800)]
)
def test_a_time_is_a_number_and_a_unit(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "31d", "h", "1w", "-1h", "nan", "inf"])
def test_a_time_out_of_bounds_or_without_meaning_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


def test_each_error_has_its_exit_code():
    assert exits.code_of(ConfigError("x")) == 78
    assert exits.code_of(PeerLost("x")) == 69
    assert exits.code_of(InviteError("x")) == 77
    assert exits.code_of(StorageError("x")) == 1


@pytest.mark.parametrize(
    ("wanted", "environ", "code"),
    [
        (None, {"LANG": "es_MX.UTF-8"}, "es"),
        (None, {"LANG": "es_ES", "LC_MESSAGES": "en_GB"}, "en"),
        (None, {"LANG": "fr_FR"}, "en"),
        (None, {}, "en"),
        ("es", {"LANG": "en_US"}, "es"),
    ],
)
def test_the_language_is_the_wanted_one_else_the_environments(wanted, environ, code):
    assert texts_for(wanted, environ).code == code


def test_a_table_is_aligned_and_one_line_a_row():
    shown = table(["name", "state"], [["pc1", "alive"], ["a-long-name", "de\nad\x1b[31m"]])
    assert shown.splitlines() == ["name         state", "pc1          alive", "a-long-name  de ad[31m"]


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b]0;x\x07b\r\nc\td") == "a]0;xb\nc\td"


async def test_config_show_can_be_read_back(tarsd, config, tmp_path):
    ended = await tarsd("config", "show", "--config", str(config))
    assert ended.code == 0
    again = tmp_path / "again.toml"
    again.write_text(ended.out)
    assert load_config(again) == load_config(config)
    assert json.loads((await tarsd("--json", "config", "show", str(config))).out) == tomllib.loads(ended.out)


async def test_config_check_names_file_key_and_fix(tarsd, config):
    assert (await tarsd("config", "check", str(config))).out == f"{config}: good\n"
    config.write_text("[api]\nport = 70000\n")
    for command in (["config", "check", str(config)], ["run", "--config", str(config)]):
        ended = await tarsd(*command)
        assert ended.code == 78
        assert f"{config}: api.port = 70000" in ended.err
        assert "Traceback" not in ended.err


async def test_init_makes_a_cluster_once(tarsd, config, tmp_path):
    ended = await tarsd("init", "--config", str(config), "--cluster", "casa", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["name"] == "pc1"
    made = (tmp_path / "identity" / "node.key").read_bytes()
    again = await tarsd("init", "--config", str(config))
    assert (again.code, "already" in again.err) == (78, True)
    assert (tmp_path / "identity" / "node.key").read_bytes() == made


async def test_join_refuses_where_a_node_already_is_and_a_token_that_is_none(tarsd, config, tmp_path):
    ended = await tarsd("join", "tars1.nonsense", "--config", str(config))
    assert ended.code == 77
    assert not (tmp_path / "identity").exists()
    await tarsd("init", "--config", str(config))
    assert (await tarsd("join", "tars1.nonsense", "--config", str(config))).code == 78


async def test_run_without_an_identity_says_what_to_do(tarsd, config):
    ended = await tarsd("run", "--config", str(config))
    assert ended.code == 78
    assert "tarsd init" in ended.err


async def test_a_local_node_that_does_not_run_is_told_so(tarsd, config):
    ended = await tarsd("members", "--config", str(config))
    assert (ended.code, "tarsd run" in ended.err) == (69, True)
