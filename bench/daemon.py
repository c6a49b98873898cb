"""One real tarsd daemon as a child process on loopback: written a config, started, watched, hurt, stopped.

READY is heard from the daemon itself, over a notification socket such as systemd gives it: exact, and not polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
STOP_S = 12.0  # the daemon promises 10


class DaemonError(Exception):
    """A daemon or command did not do what it was asked for; the text has its last lines."""


@dataclass(frozen=True)
class Plan:
    """A node to start: its name, roles, zone, and further TOML for its config."""

    name: str
    roles: tuple[str, ...] = ()
    zone: str = "core"
    settings: str = ""


class _ReadyListener(asyncio.DatagramProtocol):
    """Hears what the daemon would tell systemd."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready_at = 0.0
        self.status = ""

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Take one notification."""
        for line in data.decode("utf-8", errors="replace").splitlines():
            if line == "READY=1":
                self.ready_at = time.monotonic()
                self.ready.set()
            elif line.startswith("STATUS="):
                self.status = line.removeprefix("STATUS=")


class Daemon:
    """A node in its folder; it can be started and ended any number of times, and keeps its ports and data."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.name = plan.name
        self.folder = folder
        self.config = folder / "tarsd.toml"
        self.log = folder / "stderr.log"
        self.port, self.api_port, self.join_port = free_ports(3)
        self.url = f"http://{LOOPBACK}:{self.api_port}"
        self.start_s = 0.0  # from spawn to READY, of the last start
        self._process: Process | None = None
        self._ears: asyncio.DatagramTransport | None = None
        self._listener = _ReadyListener()
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self._config_text(), encoding="utf-8")

    @property
    def running(self) -> bool:
        """Whether the process is there (a frozen one is)."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The daemon's process id; raises `DaemonError` when it does not run."""
        if self._process is None or not self.running:
            raise DaemonError(f"{self.name} is not running")
        return self._process.pid

    @property
    def status(self) -> str:
        """The last status line that the daemon told its supervisor."""
        return self._listener.status

    async def start(self, within_s: float = 60.0) -> None:
        """Start and wait for READY; raises `DaemonError` with the log's end when it does not come."""
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._ears, self._listener = await loop.create_datagram_endpoint(
            _ReadyListener, local_addr=str(path), family=socket.AF_UNIX
        )
        environment = environment_of_a_child() | {"NOTIFY_SOCKET": str(path)}
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command("run"),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # a Ctrl-C at the terminal is for whoever started us
            )
        await self._wait_ready(within_s)
        self.start_s = self._listener.ready_at - began

    async def _wait_ready(self, within_s: float) -> None:
        assert self._process is not None
        ready = asyncio.create_task(self._listener.ready.wait())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return
            why = f"ended with {self._process.returncode}" if ended.done() else f"was not ready within {within_s:.0f} s"
        finally:
            ready.cancel()
            ended.cancel()
        await self.kill()
        raise DaemonError(f"{self.name} {why}:\n{self.log_tail()}")

    async def stop(self) -> int:
        """Ask it to leave and return its exit code; killed after `STOP_S`."""
        return await self._end(signal.SIGTERM, STOP_S)

    async def kill(self) -> None:
        """Kill it, as a power cut would: no goodbye, nothing flushed."""
        workers: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess, DaemonError):
            workers = psutil.Process(self.pid).children(recursive=True)
        await self._end(signal.SIGKILL, STOP_S)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGCONT)  # a frozen one would never see that its daemon is gone

    async def _end(self, number: signal.Signals, within_s: float) -> int:
        process = self._process
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(within_s):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            code = await process.wait()
        if self._ears is not None:
            self._ears.close()
            self._ears = None
        self._process = None
        return code

    def freeze(self) -> None:
        """Stop the daemon and its workers where they are, as a swap storm would; their connections stay open."""
        self._signal_tree(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal_tree(signal.SIGCONT)

    def _signal_tree(self, number: signal.Signals) -> None:
        parent = psutil.Process(self.pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def rss_bytes(self) -> int:
        """The memory of the daemon process alone, without its workers."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def log_tail(self, lines: int = 30) -> str:
        """Return the end of what the daemon said, over all its starts."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    async def command(self, *arguments: str, within_s: float = 60.0) -> str:
        """Run a `tarsd` command with this node's config and return what it printed; raises `DaemonError`."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*arguments), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment_of_a_child()
        )
        try:
            async with asyncio.timeout(within_s):
                out, said = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise DaemonError(f"tarsd {arguments[0]} took over {within_s:.0f} s") from error
        if process.returncode:
            raise DaemonError(f"tarsd {arguments[0]} ended with {process.returncode}: {said.decode().strip()}")
        return out.decode()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tarsd", "--config", str(self.config), *arguments]

    def _config_text(self) -> str:
        roles = json.dumps(list(self.plan.roles))
        return f"""\
[node]
name = "{self.name}"
roles = {roles}
data_dir = {json.dumps(str(self.folder / "data"))}

[network]
listen = ["{LOOPBACK}"]
port = {self.port}
join_port = {self.join_port}
mdns_interfaces = ["{LOOPBACK}"]

[api]
port = {self.api_port}

{self.plan.settings}
"""


def environment_of_a_child() -> dict[str, str]:
    """Return our environment without what would make a child talk to another node or to our own supervisor."""
    hidden = ("TARSD_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "PYTHONPATH": str(REPOSITORY)}


def free_ports(count: int) -> list[int]:
    """Return loopback ports that are free for TCP and UDP; all are held until the last is found, so they differ."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            tcp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind((LOOPBACK, 0))
            with contextlib.suppress(OSError):
                udp.bind((LOOPBACK, tcp.getsockname()[1]))
                found.append(tcp.getsockname()[1])
        return found
