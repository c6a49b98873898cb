"""Why a service is stopped, as systemd's own list of jobs tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tarsd.supervision import leaving
from tarsd.supervision.leaving import Leaving, judge, own_unit, why_leaving

RESTART = "1234 tarsd.service restart running\n"
REBOOT = "77 reboot.target      start   waiting\n78 tarsd.service      stop    running\n"
POWEROFF = "9 poweroff.target start waiting\n10 tarsd.service stop running\n"


@pytest.mark.parametrize(
    ("jobs", "reason", "is_back"),
    [
        (RESTART, "restart", True),
        (REBOOT, "reboot", True),
        (POWEROFF, "shutdown", False),
        ("5 tarsd.service stop running\n", "stop", False),
        ("5 other.service restart running\n", "stop", False),
        ("", "stop", False),
        ("No jobs running.\n", "stop", False),
    ],
)
def test_the_jobs_tell_whether_the_node_comes_back(jobs: str, reason: str, is_back: bool) -> None:
    found = judge(jobs, "tarsd.service")
    assert (found.reason, found.back_s > 0) == (reason, is_back)


def test_the_unit_is_read_from_the_cgroup() -> None:
    assert own_unit("0::/system.slice/tarsd.service\n") == "tarsd.service"
    assert own_unit("0::/system.slice/my-tarsd.service/worker\n") == "my-tarsd.service"
    assert own_unit("0::/user.slice/user-0.slice/session-1.scope\n") == ""


def test_the_list_that_the_unit_left_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(leaving, "own_unit", lambda cgroup: "tarsd.service")
    assert why_leaving() == Leaving()
    (tmp_path / leaving.JOBS).write_text(RESTART)
    assert why_leaving() == Leaving("restart", leaving.RESTART_S)
    (tmp_path / leaving.JOBS).write_bytes(b"\xff\xfe not a list")
    assert why_leaving() == Leaving()


def test_without_systemd_it_is_a_plain_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert why_leaving() == Leaving()
