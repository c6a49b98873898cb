"""`tarsd token` as a person and as a script meets it."""

from __future__ import annotations

import json

import pytest

from tarsd.api import tokens
from tarsd.cli.token_words import ENGLISH, SPANISH

ADD = (
    "token",
    "add",
    "ana",
    "--scope",
    "chat,documents",
    "--requests",
    "60/m",
    "--tokens",
    "50000/h",
    "--expires",
    "90d",
)


async def test_add_prints_the_token_alone_once_and_says_what_it_opens(tarsd, config, tmp_path):
    ended = await tarsd("--config", str(config), *ADD)
    assert ended.code == 0
    assert ended.out.startswith("tars_")
    assert ended.out.count("\n") == 1
    assert "opens chat, documents; requests 60/m, tokens 50000/h" in ended.err
    (kept,) = tokens.read(tmp_path / tokens.FILE)
    assert kept.digest == tokens.digest_of(ended.out.strip())
    assert kept.expires_at == pytest.approx(kept.created_at + 90 * 86400)


async def test_list_shows_names_and_limits_but_no_secret(tarsd, config):
    assert "no named tokens" in (await tarsd("--config", str(config), "token", "list")).out
    secret = (await tarsd("--config", str(config), *ADD)).out.strip()
    ended = await tarsd("--config", str(config), "token", "list")
    row = next(line for line in ended.out.splitlines() if line.startswith("ana"))
    assert row.split()[:5] == ["ana", "-", "chat,documents", "60/m", "50000/h"]
    told = json.loads((await tarsd("--config", str(config), "--json", "token", "list")).out)["tokens"]
    assert told[0]["scopes"] == ["chat", "documents"]
    assert secret not in ended.out + str(told)
    assert tokens.digest_of(secret) not in ended.out + str(told)


async def test_rm_removes_and_what_is_not_there_is_an_error(tarsd, config, tmp_path):
    await tarsd("--config", str(config), *ADD)
    ended = await tarsd("--config", str(config), "--lang", "es", "token", "rm", "ana")
    assert (ended.code, ended.out) == (0, "El token ana está borrado; ya no abre nada.\n")
    assert tokens.read(tmp_path / tokens.FILE) == []
    again = await tarsd("--config", str(config), "token", "rm", "ana")
    assert again.code == 1
    assert "there is no token 'ana'" in again.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scope", "chat,everything"), "--scope: 'everything' is no scope; there is chat, documents"),
        (("--scope", ","), "--scope: nothing is no scope"),
        (("--scope", "chat", "--requests", "60"), "--requests: '60' is not a rate such as 60/m"),
        (("--scope", "chat", "--tokens", "1/y"), "--tokens: '1/y' is not a rate"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_made(tarsd, config, tmp_path, arguments, told):
    ended = await tarsd("--config", str(config), "token", "add", "ana", *arguments)
    assert ended.code == 1
    assert told in ended.err
    assert not (tmp_path / tokens.FILE).exists()


async def test_a_time_that_is_none_is_wrong_usage(tarsd, config):
    assert (
        await tarsd("--config", str(config), "token", "add", "a", "--scope", "chat", "--expires", "never")
    ).code == 64


async def test_help_teaches(tarsd):
    ended = await tarsd("token", "--help")
    assert "tarsd token add editor --scope chat" in ended.out


def test_both_languages_say_the_same_things():
    for field in ENGLISH._fields:
        english, spanish = getattr(ENGLISH, field), getattr(SPANISH, field)
        assert english
        assert spanish
        assert english.count("{") == spanish.count("{")


async def test_a_token_of_a_person_says_whom_it_speaks_for(tarsd, config, tmp_path):
    ended = await tarsd("--config", str(config), "token", "add", "phone", "--scope", "memory:read", "--person", "Ana")
    assert "It speaks for ana" in ended.err
    assert tokens.read(tmp_path / tokens.FILE)[0].person == "ana"
    listed = (await tarsd("--config", str(config), "--lang", "es", "token", "list")).out.splitlines()
    assert listed[0].split()[:2] == ["nombre", "persona"]
    assert listed[1].split()[:3] == ["phone", "ana", "memory:read"]
    wrong = await tarsd("--config", str(config), "token", "add", "x", "--scope", "chat", "--person", "../ana")
    assert wrong.code == 1
    assert "person: '../ana' is no name of a person" in wrong.err
