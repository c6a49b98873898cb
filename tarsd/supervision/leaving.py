"""Why this service is being stopped, for telling the other nodes: will it be back soon?

SIGTERM says nothing of it, but systemd's list of jobs does. The sandboxed daemon cannot ask for it, so the unit's
ExecStop leaves it in the service's runtime folder just before SIGTERM. Without it this is a plain stop: nobody waits.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

JOBS = "jobs"  # the file's name; see ExecStop in packaging/systemd/tarsd.service
MAX_BYTES = 64 * 1024
RESTART_S = 30.0
REBOOT_S = 180.0

_SERVICE = re.compile(r"/([^/]+\.service)(?:/|$)", re.MULTILINE)


class Leaving(NamedTuple):
    """What is said at a goodbye: `stop`, `restart`, `reboot` or `shutdown`; back within so many seconds (0 = not)."""

    reason: str = "stop"
    back_s: float = 0.0


def why_leaving() -> Leaving:
    """Return why systemd stops this process; raises nothing."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder:
        return Leaving()
    return judge(_read(Path(folder) / JOBS), own_unit(_read(Path("/proc/self/cgroup"))))


def judge(jobs: str, unit: str) -> Leaving:
    """Return what `systemctl list-jobs` says about the stop of `unit`. Pure."""
    found = {(words[1], words[2]) for line in jobs.splitlines() if len(words := line.split()) >= 4}
    if ("reboot.target", "start") in found:
        return Leaving("reboot", REBOOT_S)
    if found & {("poweroff.target", "start"), ("halt.target", "start")}:
        return Leaving("shutdown")
    return Leaving("restart", RESTART_S) if (unit, "restart") in found else Leaving()


def own_unit(cgroup: str) -> str:
    """Return the service that a process with this /proc/self/cgroup belongs to; "" where none. Pure."""
    found = _SERVICE.search(cgroup)
    return found.group(1) if found else ""


def _read(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return ""
