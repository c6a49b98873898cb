"""The supervisor under virtual time: the loop's own clock, with stalls added by hand."""

import asyncio
import logging
from contextlib import suppress

import pytest

from tarsd.supervision import Supervisor
from tarsd.supervision.supervisor import LAG_TICK_S

pytestmark = pytest.mark.looptime


class Stage:
    """A clock that can jump, a datagram log and the parts' health."""

    def __init__(self):
        self.sent = []
        self.skew_s = 0.0
        self.problem = ""
        self.note = ""

    def clock(self):
        return asyncio.get_running_loop().time() + self.skew_s

    def supervisor(self, **more):
        return Supervisor(
            {"gossip": lambda: self.problem},
            notes={"ollama": lambda: self.note},
            clock=self.clock,
            notify=self.sent.append,
            watchdog_s=more.pop("watchdog_s", 3.0),
            **more,
        )

    @property
    def pings(self):
        return self.sent.count("WATCHDOG=1")


@pytest.fixture
def stage():
    return Stage()


class Running:
    def __init__(self, supervisor):
        self.supervisor = supervisor

    async def __aenter__(self):
        self.task = asyncio.create_task(self.supervisor.run())
        return self.supervisor

    async def __aexit__(self, *_):
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def test_pings_start_with_ready_and_keep_the_beat(stage):
    async with Running(stage.supervisor()) as supervisor:
        await asyncio.sleep(10)
        assert stage.pings == 0
        supervisor.ready("serving")
        assert stage.sent == ["READY=1", "WATCHDOG=1", "STATUS=serving"]
        await asyncio.sleep(30)
        assert 9 <= stage.pings <= 11


async def test_a_sick_part_stops_the_pings_and_shows_in_the_status(stage):
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        stage.problem = "silent for 4.0 s"
        await asyncio.sleep(20)
        assert stage.pings == 1
        assert stage.sent[-1] == "STATUS=serving; gossip: silent for 4.0 s"
        assert supervisor.problems() == ["gossip: silent for 4.0 s"]
        stage.problem = ""
        await asyncio.sleep(4)
        assert stage.pings == 2
        assert stage.sent[-1] == "STATUS=serving"


async def test_a_note_is_shown_while_the_pings_go_on(stage):
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        stage.note = "no server"
        await asyncio.sleep(10)
        assert stage.pings >= 3
        assert stage.sent[-1] in ("WATCHDOG=1", "STATUS=serving; ollama: no server")
        assert "STATUS=serving; ollama: no server" in stage.sent


async def test_the_pings_come_from_the_loop_so_a_stall_sends_none_and_none_is_caught_up(stage):
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        await asyncio.sleep(1)
        stage.skew_s += 60  # the loop did nothing for a minute
        await asyncio.sleep(1)
        assert stage.pings == 2


async def test_a_loop_that_keeps_stalling_gets_no_more_pings(stage):
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        for _ in range(40):
            stage.skew_s += 0.7
            await asyncio.sleep(LAG_TICK_S)
        assert supervisor.loop_lag_s >= 0.6
        before = stage.pings
        for _ in range(40):
            stage.skew_s += 0.7
            await asyncio.sleep(LAG_TICK_S)
        assert stage.pings == before
        assert any(problem.startswith("event loop: p95 lag 0.") for problem in supervisor.problems())


async def test_stopping_is_said_first_and_ends_the_pings(stage):
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        supervisor.stopping()
        assert stage.sent[-1] == "STOPPING=1\nSTATUS=leaving"
        said = len(stage.sent)
        supervisor.status("late news")
        await asyncio.sleep(20)
        assert len(stage.sent) == said


async def test_a_status_is_sent_once_and_on_one_line(stage):
    supervisor = stage.supervisor()
    supervisor.ready("serving")
    supervisor.status("two nodes\nWATCHDOG=trigger")
    supervisor.status("two nodes\nWATCHDOG=trigger")
    assert stage.sent[-1] == "STATUS=two nodes WATCHDOG=trigger"
    assert sum("two nodes" in sent for sent in stage.sent) == 1


async def test_a_check_that_raises_is_a_problem_not_a_crash(stage):
    def broken():
        raise RuntimeError("database is locked")

    supervisor = Supervisor({"store": broken}, clock=stage.clock, notify=stage.sent.append, watchdog_s=3.0)
    supervisor.ready("serving")
    assert stage.pings == 0
    assert supervisor.problems() == ["store: the check failed: database is locked"]


async def test_a_problem_is_warned_of_once(stage, caplog):
    caplog.set_level(logging.INFO)
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        stage.problem = "silent"
        await asyncio.sleep(30)
        stage.problem = ""
        await asyncio.sleep(4)
    assert [record.getMessage() for record in caplog.records] == ["unhealthy: gossip: silent", "healthy again: gossip"]


async def test_asking_for_problems_takes_no_news_from_the_log(stage, caplog):
    async with Running(stage.supervisor()) as supervisor:
        supervisor.ready("serving")
        stage.problem = "silent"
        assert supervisor.problems()
        await asyncio.sleep(4)
    assert "unhealthy: gossip: silent" in caplog.text


async def test_time_is_asked_for_while_there_is_progress_and_not_when_it_ends(stage):
    done = "10 %"
    supervisor = stage.supervisor()
    async with supervisor.extending(lambda: done):
        await asyncio.sleep(5)
        assert stage.sent == ["EXTEND_TIMEOUT_USEC=30000000\nSTATUS=10 %"]
        done = "60 %"
        await asyncio.sleep(10)
        assert stage.sent[-1] == "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=60 %"
        await asyncio.sleep(60)  # no progress
        assert len(stage.sent) == 2
    await asyncio.sleep(60)
    assert len(stage.sent) == 2
