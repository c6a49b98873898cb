"""Our own unit under a real systemd: what is promised there about READY, the watchdog, restarts and leaving.

The tests share one container and stand in the order of a service's life.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator

import pytest
from container import REPOSITORY, Container, booted, why_not

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(180)]

# Shorter than the unit's own 10 s, so that the tests are; what is tested is whose pings it waits for.
WATCHDOG_S = 6.0
DROP_IN = f"""\
[Unit]
StartLimitIntervalSec=0
[Service]
WatchdogSec={WATCHDOG_S}
# For an interpreter that was built with a shared library; the unit itself is for the system's.
Environment=LD_LIBRARY_PATH=/opt/python/lib
"""
CONFIG = """\
[node]
name = "pc1"
roles = ["cognitive", "processing", "orchestrator", "monitoring"]
[[cognitive.engines]]
kind = "llama_cpp"
threads = 1
[processing]
threads = 1
"""


@pytest.fixture(scope="module")
def container() -> Generator[Container, None, None]:
    if reason := why_not():
        pytest.skip(reason)
    try:
        boot = booted()
        inside = boot.__enter__()
    except OSError as error:
        pytest.skip(str(error))
    try:
        drop_in = inside.root / "etc/systemd/system/tarsd.service.d"
        drop_in.mkdir()
        (drop_in / "test.conf").write_text(DROP_IN)
        (inside.root / "etc/tarsd.toml").write_text(CONFIG)
        inside.run("systemctl", "daemon-reload")
        yield inside
    finally:
        boot.__exit__(None, None, None)


def active(container: Container) -> bool:
    return container.show("SubState") == {"SubState": "running"}


def test_a_node_without_identity_is_not_restarted_again_and_again(container):
    container.run("systemctl", "start", "tarsd", check=False)
    container.until(lambda: container.show("ActiveState")["ActiveState"] == "failed", 15, "the service failed")
    found = container.show("ExecMainStatus", "NRestarts")
    assert found == {"ExecMainStatus": "78", "NRestarts": "0"}
    assert "tarsd init" in container.journal()


def test_start_returns_when_the_node_can_answer(container):
    container.run("/opt/tarsd/bin/tarsd", "init")
    began = time.monotonic()
    container.run("systemctl", "start", "tarsd")
    print(f"systemctl start: {time.monotonic() - began:.2f} s")
    found = container.show("ActiveState", "StatusText", "NRestarts", "Result")
    assert found["ActiveState"] == "active"
    assert found["StatusText"].startswith("alive 1/1, core")
    assert "pc1" in container.run("/opt/tarsd/bin/tarsd", "members")


def test_the_service_is_nobody_in_particular_and_its_files_are_its_own(container):
    pid = container.main_pid()
    uid = container.run("stat", "-c", "%u", f"/proc/{pid}").strip()
    assert 61184 <= int(uid) <= 65519  # systemd's range for dynamic users
    assert container.run("stat", "-c", "%u %a", "/var/lib/tarsd/").split() == [uid, "700"]
    status = container.run("cat", f"/proc/{pid}/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_every_worker_does_its_work_inside_the_sandbox(container):
    """No writable and executable memory, few system calls, no other network: all of it must do with that."""
    note = "/opt/tarsd-source/examples/house-notes.md"
    scan = next((REPOSITORY / "examples").glob("*factura*.pdf")).name
    said = container.run("/opt/tarsd/bin/tarsd", "ingest", note, f"/opt/tarsd-source/examples/{scan}", within_s=120)
    assert "failed" not in said

    def found_by_meaning_too() -> bool:
        found = json.loads(container.run("/opt/tarsd/bin/tarsd", "--json", "search", "boiler"))
        assert any(hit["passage"]["file"] == "house-notes.md" for hit in found["hits"])
        return found["degraded"] == "" and any("vectors" in hit["found_by"] for hit in found["hits"])

    container.until(found_by_meaning_too, 60, "the embedding model loaded and its vectors are found")
    answer = container.run("/opt/tarsd/bin/tarsd", "ask", "When was the boiler serviced?", within_s=120)
    assert "pc1" in answer


@pytest.mark.parametrize(
    ("number", "what"), [("SIGUSR2", "an event loop that is stuck"), ("SIGSTOP", "a daemon that is frozen")]
)
def test_the_watchdog_restarts(container, number, what):
    container.until(lambda: active(container), 30, "running")
    before, pid = container.restarts(), container.main_pid()
    container.signal_main(number)
    took = container.until(
        lambda: container.restarts() > before and container.main_pid() not in (0, pid) and active(container),
        90,
        f"the watchdog restarted {what}",
    )
    print(f"{what}: running again after {took:.2f} s with WatchdogSec={WATCHDOG_S:.0f}")
    assert "Watchdog timeout" in container.journal()


def test_a_stuck_loop_leaves_its_stack_in_the_journal(container):
    assert "stuck_in_a_handler" in container.journal()


def test_a_killed_daemon_is_restarted(container):
    container.until(lambda: active(container), 30, "running")
    pid = container.main_pid()
    container.signal_main("SIGKILL")
    took = container.until(lambda: container.main_pid() not in (0, pid) and active(container), 60, "it is back")
    print(f"SIGKILL: running again after {took:.2f} s")
    assert container.run("/opt/tarsd/bin/tarsd", "--json", "search", "boiler").count("house-notes.md")


def test_a_restart_is_told_as_one(container):
    container.run("systemctl", "restart", "tarsd", within_s=60)
    said = [line for line in container.journal().splitlines() if "says goodbye" in line]
    assert said
    assert said[-1].endswith("restart")


def test_stop_leaves_in_order_and_in_time(container):
    container.until(lambda: active(container), 30, "running")
    began = time.monotonic()
    container.run("systemctl", "stop", "tarsd")
    took = time.monotonic() - began
    print(f"systemctl stop: {took:.2f} s")
    found = container.show("ActiveState", "Result", "ExecMainStatus")
    assert found == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert "pc1 is leaving" in container.journal()
    assert "tarsd.workers.child" not in container.run("ps", "-eo", "args")
