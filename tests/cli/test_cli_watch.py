"""`tarsd members --watch`: pure screens, and the command itself on a terminal, in a pipe, and over a restart."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tarsd.api.watching import member_view
from tarsd.cli.members_view import age, happening, rows, screen, why
from tarsd.cli.watch_words import ENGLISH, SPANISH, told_reason
from tarsd.config import Api
from tarsd.gossip.member import Flag, Load, State
from tests.api import scripted_services as scripted
from tests.cli.conftest import KEPT


def shown(member: Any) -> dict[str, Any]:
    return json.loads(json.dumps(member_view(member), default=str))


def text(lines: Any) -> str:
    return "\n".join("".join(cell.text for cell in line).rstrip() for line in lines)


class TestWhatIsShown:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(None, "never"), (0.04, "0.0 s"), (42.0, "42 s"), (200, "3 min"), (7200, "2 h"), (4e5, "5 d")],
    )
    def test_ages(self, seconds, said):
        assert age(seconds, ENGLISH) == said

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"busy_s": 7.6}, "busy for 8 s"),
            ({"state": State.LEFT, "expect_back_s": 40.0}, "expected back within 40 s"),
            ({"hold_s": 12.0}, "unsteady: last choice for 12 s"),
            ({"one_way": True}, "we hear it, it does not hear us"),
            ({"load": Load(flags=int(Flag.LOADING))}, "loading a model"),
            ({"load": Load(flags=int(Flag.DRAINING))}, "takes nothing new"),
        ],
    )
    def test_the_reason_says_all_that_a_person_should_know(self, changes, said):
        assert why(shown(scripted.member("pc2", reason="greeted", **changes)), ENGLISH) == f"greeted; {said}"

    def test_a_one_way_link_is_said_once(self):
        member = shown(scripted.member("pc2", reason="it does not hear us", one_way=True))
        assert why(member, ENGLISH) == "we hear it, it does not hear us"

    def test_a_row_has_state_age_round_trip_loss_load_and_reason(self):
        member = scripted.member(
            "pc2", loss=0.25, rtt_ms=3.14, load=Load(queued=2, running=1, tokens_per_s=41.0, cpu_percent=30.0)
        )
        header, row = text(rows([shown(member)], ENGLISH, addresses=True)).splitlines()
        assert header.split() == [*ENGLISH.header[:-1], "addresses", "why"]
        for said in (
            "alive",
            "60 s",
            "core",
            "0.3 s",
            "3.1 ms",
            "25%",
            "1+2 41 t/s cpu 30 %",
            "192.168.1.20:7710 [fd00::1]:7710",
        ):
            assert said in row

    def test_addresses_are_shown_on_demand_only(self):
        assert "192.168" not in text(rows([shown(scripted.member("pc2"))], ENGLISH, addresses=False))

    def test_what_another_node_says_cannot_drive_the_terminal(self):
        member = shown(scripted.member("pc2", reason="\x1b[2Jgone\n"))
        assert "\x1b" not in text(rows([member], ENGLISH, addresses=False))

    @pytest.mark.parametrize("height", [6, 12, 40])
    def test_a_screen_fits_the_terminal_and_keeps_room_for_what_happened(self, height):
        members = [shown(scripted.member(f"pc{number}")) for number in range(30)]
        told = [{"number": 1, "at": 0.0, "name": "pc1", "was": "alive", "state": "dead", "reason": "silent: x"}]
        snapshot = {"node": "pc1", "at": 0.0, "members": members, "happenings": told}
        lines = text(screen(snapshot, ENGLISH, height=height)).splitlines()
        assert len(lines) <= height
        if height == 12:
            assert any("more" in line for line in lines)
            assert "alive -> dead" in lines[-1]

    def test_the_newest_happening_stands_at_the_top(self):
        told = [
            {"number": number, "at": 0.0, "name": f"pc{number}", "was": "", "state": "alive", "reason": "greeted"}
            for number in (1, 2)
        ]
        lines = text(screen({"node": "pc1", "members": [], "happenings": told}, ENGLISH, height=20))
        assert lines.index("pc2") < lines.index("pc1  new -> alive  greeted")

    def test_a_new_reason_for_the_same_state_is_no_passage(self):
        told = {"number": 1, "at": 0.0, "name": "pc1", "was": "suspect", "state": "suspect", "reason": "r"}
        assert "->" not in text([happening(told, ENGLISH)])

    @pytest.mark.parametrize(
        ("reason", "said"),
        [
            ("silent: no answer to pings", "en silencio: no responde a los pings"),
            ("pc3 says it is dead", "pc3 dice que está perdido"),
            ("it said goodbye (restart, back in 30 s)", "se despidió (reinicio)"),
            ("it said goodbye (stop)", "se despidió (parada)"),
            ("something new", "something new"),
        ],
    )
    def test_reasons_are_told_in_spanish(self, reason, said):
        assert told_reason(reason, SPANISH) == said


class Terminal:
    """The command on a pseudo-terminal of 24 lines."""

    def __init__(self, process: asyncio.subprocess.Process, own: int) -> None:
        self.process = process
        self._own = own
        self._seen = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(own, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._own, 65536)
        except OSError:  # the command ended and closed its side
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._own)
        self._seen += data
        self._news.set()

    async def until(self, wanted: str) -> str:
        """Wait until it was written, and forget what came up to it."""
        async with asyncio.timeout(60):
            while wanted.encode() not in self._seen:
                self._news.clear()
                await self._news.wait()
        before, _, self._seen = self._seen.partition(wanted.encode())
        return before.decode(errors="replace")

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._own)
        os.close(self._own)


@pytest.fixture
async def terminal() -> AsyncIterator[Any]:
    running: list[Terminal] = []

    async def start(*arguments: str, **environ: str) -> Terminal:
        own, other = os.openpty()
        fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
        env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"LANG": "C.UTF-8"} | environ
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tarsd", *arguments, stdin=other, stdout=other, stderr=other, env=env
        )
        os.close(other)
        running.append(Terminal(process, own))
        return running[-1]

    yield start
    for one in running:
        await one.close()


class Members:
    """Members that a test changes, and who wants to hear of it."""

    def __init__(self) -> None:
        self.found = {member.name: member for member in scripted.MEMBERS}
        self.callbacks: list[Any] = []

    def __call__(self) -> Any:
        return tuple(self.found.values())

    def subscribe(self, callback: Any) -> Any:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def change(self, name: str, **changes: Any) -> None:
        self.found[name] = scripted.member(name, **changes)
        for callback in self.callbacks:
            callback(self.found[name])


@pytest.fixture
def members() -> Members:
    return Members()


async def test_a_terminal_shows_a_change_at_once_and_is_left_as_it_was(serve, terminal, members):
    served = await serve(members=members, subscribe=members.subscribe)
    screen_of = await terminal("members", "--watch", TARSD_API=served.url)
    await screen_of.until("\x1b[?1049h\x1b[?25l")
    await screen_of.until("two probes lost")
    members.change("pc3", state=State.DEAD, reason="silent: no answer to pings")
    await screen_of.until("suspect -> dead")
    screen_of.process.send_signal(signal.SIGINT)
    await screen_of.until("\x1b[?25h\x1b[?1049l")
    assert await screen_of.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_the_terminal_is_given_back_however_the_command_ends(serve, terminal, number):
    screen_of = await terminal("members", "--watch", TARSD_API=(await serve()).url)
    await screen_of.until("two probes lost")
    screen_of.process.send_signal(number)
    await screen_of.until("\x1b[?25h\x1b[?1049l")
    await screen_of.process.wait()


async def test_a_resized_terminal_is_drawn_anew_within_its_size(serve, terminal):
    screen_of = await terminal("members", "--watch", TARSD_API=(await serve()).url, NO_COLOR="1")
    await screen_of.until("two probes lost")
    screen_of.resize(24, 40)
    await screen_of.until("…")
    await screen_of.until("\x1b[J\x1b[H")
    drawn = await screen_of.until("\x1b[J")
    assert max(len(line.replace("\x1b[K", "").strip()) for line in drawn.split("\r\n")) <= 40


async def test_it_speaks_spanish(serve, terminal, members):
    served = await serve(members=members, subscribe=members.subscribe)
    screen_of = await terminal("members", "--watch", TARSD_API=served.url, LANG="es_ES.UTF-8")
    await screen_of.until("Ctrl-C termina")
    members.change("pc2", state=State.DEAD, reason="silent: no answer to pings")
    await screen_of.until("en silencio: no responde a los pings")


async def test_in_a_pipe_each_change_is_one_line(serve, start, members):
    served = await serve(members=members, subscribe=members.subscribe)
    running = await start("members", "--watch", TARSD_API=served.url)
    first = await running.read_until("pc3  suspect  two probes lost\n")
    assert "\x1b" not in first
    assert "pc1  alive" in first
    await running.read_until("pc9  dead  no answer for 8 s\n")
    members.change("pc2", state=State.SUSPECT, reason="no answer to pings")
    members.change("pc2", reason="heard again")
    told = (await running.read_until("heard again\n")).splitlines()
    assert [line.partition("  ")[2] for line in told] == [
        "pc2  alive -> suspect  no answer to pings",
        "pc2  suspect -> alive  heard again",
    ]
    members.change("pc2", reason="it refuted")
    assert (await running.read_until("it refuted\n")).count("\n") == 1  # nothing is told twice
    running.interrupt()
    assert (await running.ended()).code == 0


async def test_it_outlives_its_node_and_says_so(serve, start, members):
    served = await serve(members=members, subscribe=members.subscribe)
    running = await start("members", "--watch", TARSD_API=served.url)
    await running.read_until("no answer for 8 s\n")
    await served.server.stop(drain_s=0.0)
    assert "the node is not there" in await running.read_until("\n")
    await serve(members=members, subscribe=members.subscribe, settings=Api(port=served.port))
    assert "the node is there again" in await running.read_until("\n")
    members.change("pc3", reason="heard again")
    assert "pc3  suspect -> alive  heard again" in await running.read_until("heard again\n")
    running.interrupt()
    assert (await running.ended()).code == 0


async def test_a_node_that_never_was_there_ends_it_with_its_error(tarsd, unused_tcp_port):
    ended = await tarsd("members", "--watch", "--api", f"http://127.0.0.1:{unused_tcp_port}")
    assert (ended.code, "is it running?" in ended.err) == (69, True)
