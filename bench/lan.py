"""A LAN of its own: network namespaces on a bridge, which lives in one more namespace that leads nowhere.

Nothing of this computer's own network is touched, and nothing in the LAN reaches it. All names carry this process's id.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from bench.cluster import Client, Cluster, Daemon, Plan, logs_in_notes

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_COMMAND_S = 30.0
_TABLE = "faults"
_ENDED_S = 5.0
_MADE = itertools.count(1)


def why_not() -> str:
    """Return why no namespaces can be made here; "" when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool, package in (("ip", "iproute2"), ("bridge", "iproute2"), ("nft", "nftables")):
        if not shutil.which(tool):
            return f"`{tool}` is not installed (package {package})"
    name = f"tarsd{os.getpid()}-try"
    try:
        _run("ip", "netns", "add", name)
        try:
            _run("ip", "-n", name, "link", "add", "br0", "type", "bridge")
            _run("ip", "-n", name, "link", "add", "port1", "type", "veth", "peer", "name", "port2")
        finally:
            _run("ip", "netns", "del", name)
    except OSError as error:
        return f"network namespaces cannot be made: {error}"
    return ""


def _run(*command: str, told: str = "") -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, input=told)
    if result.returncode:
        raise OSError(f"{' '.join(command)}: {result.stderr.strip() or result.returncode}")
    return result.stdout


class Lan:
    """PCs number 1 to `size` with the addresses 10.77.0.1 and so on; `with Lan(3) as lan` makes and removes it."""

    def __init__(self, size: int) -> None:
        own = f"tarsd{os.getpid()}-{next(_MADE)}"
        self._switch = f"{own}-lan"
        self._pcs = [f"{own}-{number}" for number in range(1, size + 1)]

    @property
    def switch(self) -> str:
        """The name of the namespace with the bridge."""
        return self._switch

    def namespace(self, number: int) -> str:
        """Return the name of a PC's namespace."""
        return self._pcs[number - 1]

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def silence(self, number: int) -> None:
        """Drop all that goes to and from a PC, which is not told: a switch gone mad."""
        _run("bridge", "-n", self._switch, "link", "set", "dev", f"port{number}", "state", "0")

    def hear(self, number: int) -> None:
        """End that."""
        _run("bridge", "-n", self._switch, "link", "set", "dev", f"port{number}", "state", "3")

    def unplug(self, number: int) -> None:
        """Pull a PC's cable: it sees its link go down."""
        _run("ip", "-n", self._switch, "link", "set", f"port{number}", "down")

    def plug(self, number: int) -> None:
        """Put it in again."""
        _run("ip", "-n", self._switch, "link", "set", f"port{number}", "up")

    def drop(self, name: str, matches: Sequence[str]) -> None:
        """Drop between PCs what any of these nftables matches says, of ports `port1` and so on; none = nothing more.

        Each `name` stands for itself: what it dropped before is replaced.
        """
        where = f"bridge {_TABLE} {name}"
        lines = [
            f"add table bridge {_TABLE}",
            f"add chain {where} {{ type filter hook forward priority 0; }}",
            f"flush chain {where}",
            *(f"add rule {where} {match} drop" for match in matches),
        ]
        if not matches:
            lines.append(f"delete chain {where}")
        _run("ip", "netns", "exec", self._switch, "nft", "-f", "-", told="\n".join(lines) + "\n")

    def count(self, name: str, match: str) -> None:
        """Count from now on what passes between PCs and is said by an nftables match; see `counted`."""
        where = f"bridge {_TABLE} {name}"
        lines = [
            f"add table bridge {_TABLE}",
            f"add chain {where} {{ type filter hook forward priority -1; }}",
            f"add rule {where} {match} counter",
        ]
        _run("ip", "netns", "exec", self._switch, "nft", "-f", "-", told="\n".join(lines) + "\n")

    def counted(self, name: str) -> int:
        """Return the bytes of the packets counted under `name`, from their IP headers on."""
        listed = _run("ip", "netns", "exec", self._switch, "nft", "list", "chain", "bridge", _TABLE, name)
        return int(listed.rpartition(" bytes ")[2].split()[0])

    def open_cable(self, number: int) -> tuple[str, str]:
        """Cut a PC's cable open: return the two interfaces in the bridge's namespace between which frames are carried.

        One leads to the PC, the other one to the bridge; the PC sees no link go down.
        """
        port, far, plug = f"port{number}", f"far{number}", f"plug{number}"
        _run("ip", "-n", self._switch, "link", "add", far, "type", "veth", "peer", "name", plug)
        _run("ip", "-n", self._switch, "link", "set", port, "nomaster")
        _run("ip", "-n", self._switch, "link", "set", plug, "master", "br0", "up")
        _run("ip", "-n", self._switch, "link", "set", far, "up")
        return port, far

    def close_cable(self, number: int) -> None:
        """Mend it."""
        _run("ip", "-n", self._switch, "link", "del", f"far{number}")
        _run("ip", "-n", self._switch, "link", "set", f"port{number}", "master", "br0")

    def _make(self) -> None:
        _run("ip", "netns", "add", self._switch)
        _run("ip", "-n", self._switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", self._switch, "link", "set", "br0", "up")
        for number, pc in enumerate(self._pcs, 1):
            port = f"port{number}"
            _run("ip", "netns", "add", pc)
            cable = ("type", "veth", "peer", "name", "eth0", "netns", pc)
            _run("ip", "-n", self._switch, "link", "add", port, *cable)
            _run("ip", "-n", self._switch, "link", "set", port, "addrgenmode", "none", "master", "br0", "up")
            _run("ip", "-n", pc, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            _run("ip", "-n", pc, "link", "set", "eth0", "up")
            _run("ip", "-n", pc, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for namespace in (*self._pcs, self._switch):
            with contextlib.suppress(OSError):
                _end_all_in(namespace)
                _run("ip", "netns", "del", namespace)


def _end_all_in(namespace: str) -> None:
    """End what was left in a namespace of ours; a process there would keep it alive without a name."""
    give_up_at = time.monotonic() + _ENDED_S
    while (left := _run("ip", "netns", "pids", namespace).split()) and time.monotonic() < give_up_at:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)


@contextlib.contextmanager
def inside(namespace: str) -> Generator[None, None, None]:
    """Put this thread into a network namespace; a socket stays where it was made."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(other)


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def sockets_in(namespace: str) -> Callable[[Any], socket.socket]:
    """Return what makes aiohttp's sockets in a namespace."""

    def make(info: Any) -> socket.socket:
        with inside(namespace):
            return socket.socket(info[0], info[1], info[2])

    return make


class LanDaemon(Daemon):
    """A daemon in a namespace; it and its commands see that network only."""

    namespace = ""

    def _command(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *super()._command(*arguments)]

    def _config_text(self) -> str:
        """Listen on all interfaces and ports by default, as a real PC does."""
        kept = [
            line for line in super()._config_text().splitlines() if not line.startswith(("listen", "mdns_", "seeds"))
        ]
        return "\n".join(kept) + "\n"


class LanClient(Client):
    """A client inside a namespace, where the API listens on loopback."""

    def __init__(self, url: str, namespace: str) -> None:
        super().__init__(url)
        self._namespace = namespace

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(socket_factory=sockets_in(self._namespace))
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None, connect=5), headers=self._headers
        )
        return self


async def put_on(
    lan: Lan, plans: Sequence[Plan], folder: Path, stack: contextlib.AsyncExitStack, *, gently: bool = True
) -> Cluster:
    """Return a daemon on each PC of `lan`, and a client for each; none has an identity or runs yet.

    `stack` stops them (`gently`, else kills them) and closes the clients; a raised exception gets their logs' ends.
    """
    daemons = [LanDaemon(plan, folder / plan.name) for plan in plans]
    clients: dict[str, Client] = {}
    for number, daemon in enumerate(daemons, 1):
        daemon.namespace = lan.namespace(number)
        stack.push_async_callback(daemon.stop if gently else daemon.kill)
        clients[daemon.name] = await stack.enter_async_context(LanClient(daemon.url, daemon.namespace))
    stack.enter_context(logs_in_notes(daemons))
    return Cluster(daemons, clients, folder)
