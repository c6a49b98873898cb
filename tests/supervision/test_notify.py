import os
import socket
from contextlib import closing

import pytest

from tarsd.supervision import SystemdNotify, watchdog_interval_s
from tarsd.supervision.notify import status_line


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """Systemd's end of the notification socket."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listener


def test_a_text_arrives_as_one_utf8_datagram(systemd):
    with closing(SystemdNotify()) as notify:
        notify("STATUS=niño — 3/3")
        assert systemd.recv(1000).decode("utf-8") == "STATUS=niño — 3/3"


def test_without_systemd_nothing_fails(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with closing(SystemdNotify()) as notify:
        notify("READY=1")


# sdnotify drops the socket that it could not connect without closing it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_socket_that_is_gone_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with closing(SystemdNotify()) as notify:
        notify("READY=1")


@pytest.mark.timeout(10)
def test_a_systemd_that_does_not_read_never_blocks_the_loop(systemd):
    with closing(SystemdNotify()) as notify:
        for _ in range(5000):
            notify("WATCHDOG=1")


def test_the_ping_comes_three_times_in_the_watchdogs_time():
    assert watchdog_interval_s({"WATCHDOG_USEC": "9000000"}, pid=7) == 3.0


def test_a_watchdog_for_another_process_is_not_ours():
    assert watchdog_interval_s({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "7"}, pid=7) == 3.0
    assert watchdog_interval_s({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "8"}, pid=7) is None
    assert watchdog_interval_s({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": str(os.getpid())}) == 3.0


@pytest.mark.parametrize("value", ["", "0", "-5", "soon"])
def test_no_usable_watchdog_time_means_nobody_watches(value):
    assert watchdog_interval_s({"WATCHDOG_USEC": value}, pid=7) is None
    assert watchdog_interval_s({}, pid=7) is None


def test_a_status_cannot_smuggle_a_second_assignment():
    assert status_line("fine\nREADY=1\r\n") == "STATUS=fine READY=1"
