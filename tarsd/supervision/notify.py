"""The line to systemd: what is said, and what the unit asked for.

Rules
1. Without NOTIFY_SOCKET nothing is sent and nothing fails.
2. A send never blocks the event loop: a full queue loses that datagram, and the next beat says the same again.
3. The watchdog is ours only where WATCHDOG_PID is absent or names this process: a child that inherits the variables
   must not ping for its parent.
4. A status is one line: a line break inside would be read as another assignment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import sdnotify

Notify = Callable[[str], None]

PINGS_PER_WATCHDOG = 3  # two may be lost or late before systemd's patience ends


class SystemdNotify:
    """Sends `KEY=value` texts to the socket that NOTIFY_SOCKET names; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._line = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        if self._line is not None and self._line.socket is not None:
            self._line.socket.setblocking(False)

    def __call__(self, state: str) -> None:
        """Send `state`; never blocks, never fails."""
        if self._line is not None:
            # The library encodes as Latin-1 and drops what does not fit; so it is handed UTF-8 in Latin-1's clothes.
            self._line.notify(state.encode("utf-8").decode("latin-1"))

    def close(self) -> None:
        """Close the socket; what is sent after this is dropped."""
        if self._line is not None and self._line.socket is not None:
            self._line.socket.close()


def watchdog_interval_s(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Return how often to ping, or None where systemd does not watch this process."""
    try:
        usec = int(environ.get("WATCHDOG_USEC", ""))
        watched = int(environ.get("WATCHDOG_PID", "") or (pid or os.getpid()))
    except ValueError:
        return None
    if usec <= 0 or watched != (pid or os.getpid()):
        return None
    return usec / 1e6 / PINGS_PER_WATCHDOG


def status_line(text: str) -> str:
    """Return `STATUS=` with `text` on one line."""
    return "STATUS=" + " ".join(text.split())
