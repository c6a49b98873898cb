"""`tarsd revoke` and `tarsd rotate` as a person meets them: asked first, told plainly, in both languages."""

from __future__ import annotations

import json

import pytest

from tarsd.cli.trust_words import ENGLISH, SPANISH
from tests.api.test_api_trust import ScriptedTrust

KEY = {"TARSD_TOKEN": "the-admin-token"}


async def test_revoke_asks_first_and_does_nothing_without_a_yes(serve, start):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    for said in ("no\n", "\n", ""):
        running = await start("--api", served.url, "revoke", "pc3", **KEY)
        running.write(said)
        ended = await running.ended()
        assert ended.code == 1
        assert "Throw pc3 out for good?" in ended.err
        assert "Nothing was done" in ended.err
    assert trust.asked == []


async def test_revoke_tells_who_knows_what_stays_and_what_to_do_next(serve, start):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    running = await start("--api", served.url, "revoke", "pc3", "--reason", "stolen", **KEY)
    running.write("yes\n")
    ended = await running.ended()
    assert ended.code == 0
    for told in (
        "pc3 (cccccccc) is revoked",
        "Acknowledged by: pc2",
        "Not reached: pc9",
        "stays there",
        "tarsd rotate",
    ):
        assert told in ended.out
    assert trust.asked == [("revoke", "pc3", "stolen")]


async def test_revoke_in_spanish(serve, start):
    served = await serve(trust=ScriptedTrust())
    running = await start("--api", served.url, "--lang", "es", "revoke", "pc3", **KEY)
    running.write("sí\n")
    ended = await running.ended()
    assert "pc3 (cccccccc) está revocado" in ended.out
    assert "Sin respuesta: pc9" in ended.out


async def test_revoke_for_programs(serve, tarsd):
    served = await serve(trust=ScriptedTrust())
    ended = await tarsd("--api", served.url, "--json", "revoke", "--yes", "pc3", **KEY)
    assert json.loads(ended.out)["waiting"] == ["pc9"]


async def test_without_the_admin_token_nobody_is_revoked(serve, tarsd):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    assert (await tarsd("--api", served.url, "revoke", "--yes", "pc3")).code == 77
    assert trust.asked == []


async def test_rotate_shows_who_gets_the_keys_and_asks(serve, start):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    running = await start("--api", served.url, "rotate", **KEY)
    running.write("no\n")
    ended = await running.ended()
    assert ended.code == 1
    assert "These core PCs get the new keys: pc1" in ended.out
    assert "gets what it missed on return: pc9" in ended.out  # it is let in, too
    assert trust.asked == [("rotation",)]
    done = await start("--api", served.url, "rotate", **KEY)
    done.write("yes\n")
    ended = await done.ended()
    assert "number 2 is in use" in ended.out
    assert "use: pc1, pc2" in ended.out


async def test_rotate_status_only_looks(serve, tarsd):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    ended = await tarsd("--api", served.url, "rotate", "--status", **KEY)
    assert "step use is next" in ended.out
    assert "root key is on pc1" in ended.out
    assert trust.asked == [("rotation",)]


@pytest.mark.parametrize("command", ["revoke", "rotate"])
async def test_help_teaches(tarsd, command):
    ended = await tarsd(command, "--help")
    assert ended.code == 0
    assert "examples:" in ended.out
    assert "core PC" in " ".join(ended.out.split())


def test_both_languages_say_the_same_things():
    for field in ENGLISH._fields:
        english, spanish = getattr(ENGLISH, field), getattr(SPANISH, field)
        assert type(english) is type(spanish)
        assert bool(english) == bool(spanish)
        if isinstance(english, str):
            assert english.count("{") == spanish.count("{")
