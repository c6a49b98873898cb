"""The shell around `health`: asks the parts, measures the loop's lag, speaks with systemd from the loop itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from tarsd.supervision.health import LoopLag, Verdict, judge
from tarsd.supervision.notify import Notify, SystemdNotify, status_line, watchdog_interval_s

log = logging.getLogger(__name__)

LAG_TICK_S = 0.1
BEAT_WITHOUT_WATCHDOG_S = 3.0  # so that problems are logged and shown under any supervisor, or none
EXTEND_SLICE_S = 30.0
EXTEND_EVERY_S = 10.0

Check = Callable[[], str]


class Supervisor:
    """Answers the watchdog while every check is healthy, and keeps STATUS= true.

    `checks` are vital: one problem that lasts for WatchdogSec gets the node restarted. `notes` are only told. Both are
    called on the event loop, so they must be quick; one that raises counts as a problem. `watchdog_s` is the time
    between pings (None: nobody watches).
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        notes: Mapping[str, Check] | None = None,
        clock: Callable[[], float] = time.monotonic,
        notify: Notify | None = None,
        watchdog_s: float | None = None,
    ) -> None:
        self._checks = dict(checks)
        self._notes = dict(notes or {})
        self._clock = clock
        self._notify = SystemdNotify() if notify is None else notify
        self._watchdog_s = watchdog_interval_s() if watchdog_s is None else watchdog_s
        self._lag = LoopLag()
        self._serving = False
        self._told = ""
        self._base = ""
        self._verdict = Verdict()

    async def run(self) -> None:
        """Watch until cancelled; cancelling stops the pings, so call `stopping()` first."""
        beat_s = self._watchdog_s or BEAT_WITHOUT_WATCHDOG_S
        due = self._clock()
        while True:
            before = self._clock()
            await asyncio.sleep(LAG_TICK_S)
            now = self._clock()
            self._lag.add(now - before - LAG_TICK_S, now)
            if now >= due:
                # From now, not from `due`: after a stall there is nothing to catch up with.
                due = now + beat_s
                self._beat()

    def ready(self, status: str) -> None:
        """Say that the node can answer; the watchdog is fed from here on."""
        self._serving = True
        self._base = status
        self._notify("READY=1")
        self._beat()

    def stopping(self) -> None:
        """Say that the node is leaving; no ping and no health in the status after this."""
        self._serving = False
        self._notify("STOPPING=1\n" + status_line("leaving"))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows; sent only when it changed."""
        self._base = text
        self._tell()

    def problems(self) -> list[str]:
        """Return what is wrong right now, vital parts first, as "name: problem"."""
        verdict = self._judge(before=frozenset())
        return [*verdict.problems, *verdict.notes]

    @property
    def loop_lag_s(self) -> float:
        """The 95th percentile of the event loop's lag over the last seconds."""
        return self._lag.percentile_s(self._clock())

    @asynccontextmanager
    async def extending(self, progress: Callable[[], str]) -> AsyncGenerator[None, None]:
        """Ask systemd for more time, slice by slice, while a long start or stop inside makes progress.

        `progress()` is shown as the status. While it does not change nothing more is asked for: work that hangs is
        ended by the unit's own timeout.
        """
        task = asyncio.create_task(self._extend(progress))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _extend(self, progress: Callable[[], str]) -> None:
        last: str | None = None
        while True:
            if (now_at := progress()) != last:
                last = now_at
                self._notify(f"EXTEND_TIMEOUT_USEC={int(EXTEND_SLICE_S * 1e6)}\n" + status_line(now_at))
            await asyncio.sleep(EXTEND_EVERY_S)

    def _beat(self) -> None:
        verdict = self._verdict = self._judge(before=self._verdict.sick)
        for line in verdict.news:
            log.warning("unhealthy: %s", line)
        for name in verdict.recovered:
            log.info("healthy again: %s", name)
        if verdict.ping and self._watchdog_s is not None:
            self._notify("WATCHDOG=1")
        self._tell()

    def _judge(self, before: frozenset[str]) -> Verdict:
        answers, notes = _ask(self._checks), _ask(self._notes)
        return judge(answers, notes, lag_s=self.loop_lag_s, serving=self._serving, before=before)

    def _tell(self) -> None:
        line = self._status()
        if self._serving and line != self._told:
            self._notify(line)
            self._told = line

    def _status(self) -> str:
        return status_line(
            "; ".join(part for part in (self._base, *self._verdict.problems, *self._verdict.notes) if part)
        )


def _ask(checks: Mapping[str, Check]) -> dict[str, str]:
    answers = {}
    for name, check in checks.items():
        try:
            answers[name] = check()
        except Exception as error:  # a check that cannot answer says that its part is not well
            answers[name] = f"the check failed: {error}"
            log.debug("check %s failed", name, exc_info=True)
    return answers
