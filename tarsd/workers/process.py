"""One child process from its start to its end: spawned, listened to, watched, buried.

Rules
1. A child that is silent for `silence_s` is hung and is killed; native code that holds the GIL so long counts as hung.
2. So is one that has not left a cancelled call after `silence_s`.
3. Before it accuses the child, the watch looks at itself: after a stall of this process the count starts anew.
4. Whoever ends the child ends its process group, so that no grandchild (tesseract) outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable

from tarsd.errors import TarsdError, WorkerLost
from tarsd.wire import Kind, encode
from tarsd.workers import protocol
from tarsd.workers.link import Link

_log = logging.getLogger(__name__)

_LINES_KEPT = 20
_LINE_CHARS = 500
_READ_BYTES = 4096

# A child is asked to go, then told, then killed: 3 s in all.
_ASK_S = 1.5
_TERM_S = 0.75
_KILL_S = 0.5
_LAST_WORDS_S = 0.2  # what a dead child wrote is in the pipe already; a stranger that holds it open is not waited for

# The daemon's own talk with systemd; a child that answered the watchdog would vouch for what it does not know.
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ChildProcess:
    """A running child; `lost` is done, with the reason, when it is of no more use.

    `on_lost` is called then, before the readers of its calls wake.
    """

    def __init__(
        self, name: str, start: protocol.Start, on_lost: Callable[[], None], *, silence_s: float, max_pending: int
    ) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.link = Link(name, max_pending, self._take_loss, start.at_once)
        self._on_lost = on_lost
        self._name = name
        self._start = start
        self._silence_s = silence_s
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def last_lines(self) -> str:
        """Return the end of what it wrote to stderr."""
        return "\n".join(self._lines)

    async def run(self, start_timeout_s: float) -> None:
        """Spawn it and wait until its class is built.

        Raises what the child's class raised, or `WorkerLost`; then, and when cancelled, nothing is left running.
        """
        try:
            async with asyncio.timeout(start_timeout_s):
                await self._spawn()
                await self.link.started
        except TimeoutError:
            await self.kill(f"it did not start in {start_timeout_s:g} s")
            raise WorkerLost(f"worker {self._name}: did not start in {start_timeout_s:g} s") from None
        except TarsdError as error:
            await self.kill(str(error))
            raise
        except OSError as error:
            await self.kill(str(error))
            raise WorkerLost(f"worker {self._name}: cannot be started: {error}") from error
        except BaseException:
            await self.kill("its start was given up")
            raise
        self.link.forgive()
        self._tasks.append(asyncio.create_task(self._watch(), name=f"watch {self._name}"))

    async def stop(self) -> None:
        """Ask it to go, then SIGTERM, then SIGKILL, within 3 s."""
        process = self._process
        if process is not None and process.returncode is None:
            self.link.send(protocol.encode(Kind.END, protocol.START))
            if not await self._lost_within(_ASK_S):
                self._signal(signal.SIGTERM)
                await self._lost_within(_TERM_S)
        await self.kill("it was stopped")

    async def kill(self, reason: str) -> None:
        """End it and its process group at once, and wait until it is buried."""
        self.link.lose(reason)
        self._signal(signal.SIGKILL)
        if not await self._ended_within(_KILL_S):
            _log.error("worker %s (pid %s) does not die: the kernel holds it", self._name, self.pid)
        if self._stderr is not None:
            await asyncio.wait((self._stderr,), timeout=_LAST_WORDS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                ours.setblocking(False)
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "tarsd.workers.child", str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    env={key: value for key, value in os.environ.items() if key not in _NOT_INHERITED},
                    start_new_session=True,  # a Ctrl-C at the terminal is for the daemon, which stops its workers
                )
            await asyncio.get_running_loop().create_unix_connection(lambda: self.link, sock=ours)
        except BaseException:
            ours.close()
            raise
        self._stderr = asyncio.create_task(self._read_stderr(), name=f"stderr {self._name}")
        self._tasks.append(self._stderr)
        self.link.send(protocol.encode(Kind.REQUEST, protocol.START, encode(self._start)))

    async def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        rest = b""
        while data := await self._process.stderr.read(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_READ_BYTES:]  # a line without end is not kept whole
            for line in lines:
                self._note(line)
        if rest:
            self._note(rest)

    def _note(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()[:_LINE_CHARS]
        if text:
            self._lines.append(text)
            _log.debug("worker %s: %s", self._name, text)

    async def _watch(self) -> None:
        """Send beats and judge the silence (rules 1 to 3)."""
        loop = asyncio.get_running_loop()
        interval_s = self._silence_s / 4
        before = loop.time()
        while not self.lost.done():
            self.link.beat()
            await asyncio.sleep(interval_s)
            now = loop.time()
            stalled, before = now - before > 2 * interval_s, now
            if stalled:
                self.link.forgive()
            elif self.link.silent_s() > self._silence_s:
                self._accuse(f"it was silent for {self._silence_s:g} s")
            elif self.link.unstopped_s() > self._silence_s:
                self._accuse(f"it did not leave a cancelled call in {self._silence_s:g} s")

    def _accuse(self, reason: str) -> None:
        self.link.lose(reason)
        self._signal(signal.SIGKILL)

    def _take_loss(self, reason: str) -> None:
        self.lost.set_result(reason)
        self._on_lost()

    async def how_it_ended(self) -> str:
        """Return the reason of the loss, with the exit status; to be asked after `lost`."""
        reason = self.lost.result()
        # The child is dead or dying by now and its status is set; a grandchild would hold its stderr, and so our wait.
        self._signal(signal.SIGKILL)
        if not await self._ended_within(_KILL_S):
            return reason
        status = self._process.returncode if self._process is not None else None
        match status:
            case None | 0:
                return reason
            case code if code < 0:
                return f"{reason} (signal {_name_of(-code)})"
            case code:
                return f"{reason} (exit status {code})"

    async def _lost_within(self, seconds: float) -> bool:
        await asyncio.wait((self.lost,), timeout=seconds)
        return self.lost.done()

    async def _ended_within(self, seconds: float) -> bool:
        if self._process is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole process group: the child leads its own (rule 4)."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _name_of(number: int) -> str:
    """Return a signal's name; of the real-time ones only two have one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
