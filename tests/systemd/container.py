"""Real systemd as PID 1, over a throw-away overlay of this machine's own root: systemd-nspawn needs no image for it.

What the service needs is bound to where packaging/install.sh would have put it, since the unit hides home folders and
this checkout may lie in one: /opt/tarsd is a virtual environment whose packages are this one's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
BOOT_S = 30.0
# Units that only cost time in a container, or wait for hardware.
MASKED = ("systemd-logind", "getty@tty1", "console-getty", "systemd-timesyncd", "systemd-networkd", "systemd-resolved")

# SIGUSR2 blocks the main thread, and so the event loop, in plain Python: what a bug in a handler would do.
HANG_HOOK = """\
import signal, time
def stuck_in_a_handler(number, frame):
    time.sleep(600)
signal.signal(signal.SIGUSR2, stuck_in_a_handler)
"""


def why_not() -> str:
    """Return why no container can be booted here; "" when one can."""
    if os.geteuid() != 0:
        return "booting systemd needs root"
    if not shutil.which("systemd-nspawn"):
        return "systemd-nspawn is not installed (package systemd-container)"
    return ""


class Container:
    """A booted container; every command in it has a deadline."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(self, *command: str, within_s: float = 30.0, check: bool = True) -> str:
        """Run a command as the container's root and return what it printed on both outputs."""
        result = subprocess.run(
            ["nsenter", f"--target={self._leader}", "--mount", "--pid", "--net", "--uts", "--ipc", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}\n{self._journal_end()}"
            )
        return result.stdout

    def show(self, *properties: str) -> dict[str, str]:
        """Return properties of tarsd.service."""
        lines = self.run("systemctl", "show", "tarsd", "-p", ",".join(properties)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def main_pid(self) -> int:
        """Return the daemon's process id inside the container; 0 while there is none."""
        return int(self.show("MainPID")["MainPID"])

    def restarts(self) -> int:
        """Return how often systemd restarted the service by itself."""
        return int(self.show("NRestarts")["NRestarts"])

    def signal_main(self, name: str) -> None:
        """Send a signal to the daemon alone."""
        self.run("systemctl", "kill", "--kill-who=main", f"--signal={name}", "tarsd")

    def journal(self) -> str:
        """Return the service's journal."""
        return self.run("journalctl", "--unit=tarsd", "--no-pager", "--output=short-precise")

    def _journal_end(self) -> str:
        command = ("journalctl", "--unit=tarsd", "--no-pager", "--lines=40")
        return self.run(*command, check=False)

    def until(self, condition: Callable[[], bool], within_s: float, what: str) -> float:
        """Wait for a condition inside; return the seconds it took, fail with the journal's end if it does not come."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within_s:
                status = self.run("systemctl", "status", "tarsd", check=False)
                raise AssertionError(f"not within {within_s:.0f} s: {what}\n{status}\n{self._journal_end()}")
            time.sleep(0.05)  # systemctl has no way to wait for these
        return time.monotonic() - began


@contextlib.contextmanager
def booted() -> Generator[Container, None, None]:
    """Boot a container and power it off afterwards; raises `OSError` where overlays cannot be mounted."""
    base = Path(tempfile.mkdtemp(prefix="tarsd-systemd-"))
    with contextlib.ExitStack() as undo:
        undo.callback(base.rmdir)
        _mount(undo, base, "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs")
        for name in ("upper", "work", "root"):
            (base / name).mkdir()
        options = f"lowerdir=/,upperdir={base / 'upper'},workdir={base / 'work'}"
        root = base / "root"
        _mount(undo, root, "-t", "overlay", "-o", options, "overlay")
        _prepare(root)
        with (base / "console.log").open("wb") as console:
            process = subprocess.Popen(
                _nspawn(root), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        undo.callback(_power_off, process)
        leader = _leader_of(process, base / "console.log")
        container = Container(root, leader)
        _wait_booted(container)
        yield container


def _mount(undo: contextlib.ExitStack, where: Path, *arguments: str) -> None:
    result = subprocess.run(["mount", *arguments, str(where)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"cannot mount here: {result.stderr.strip()}")
    undo.callback(subprocess.run, ["umount", "--lazy", str(where)], check=False)


def _prepare(root: Path) -> None:
    units = root / "etc/systemd/system"
    shutil.rmtree(units)
    units.mkdir()
    for name in MASKED:
        (units / f"{name}.service").symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("")
    shutil.copy(REPOSITORY / "packaging/systemd/tarsd.service", units / "tarsd.service")
    _lay_program(root / "opt/tarsd")


def _lay_program(venv: Path) -> None:
    """Lay a virtual environment that finds its packages where `_nspawn` binds them."""
    shutil.rmtree(venv, ignore_errors=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = venv / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(f"/opt/python/bin/{version}")
    (venv / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
    (packages / "hang_hook.py").write_text(HANG_HOOK)
    (packages / "tarsd.pth").write_text("/opt/tarsd-source\n/opt/tarsd-packages\nimport hang_hook\n")
    program = venv / "bin/tarsd"
    program.write_text("#!/opt/tarsd/bin/python\nfrom tarsd.__main__ import main\nmain()\n")
    program.chmod(0o755)


def _nspawn(root: Path) -> list[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        f"--bind-ro={sys.base_prefix}:/opt/python",
        f"--bind-ro={REPOSITORY}:/opt/tarsd-source",
        f"--bind-ro={sysconfig.get_path('purelib')}:/opt/tarsd-packages",
        "--register=no",
        "--keep-unit",
        f"--machine=tarsd-test-{os.getpid()}",
        "--private-network",
        "--link-journal=no",
        "--console=pipe",
        "--kill-signal=SIGRTMIN+3",
        "--boot",
        "systemd.unit=multi-user.target",
    ]


def _leader_of(process: subprocess.Popen[bytes], console: Path) -> int:
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise OSError(f"systemd-nspawn ended: {console.read_text(errors='replace').strip()[-500:]}")
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "systemd" in child.name():
                    return child.pid
        time.sleep(0.05)
    raise OSError(f"systemd did not start: {console.read_text(errors='replace')[-500:]}")


def _wait_booted(container: Container) -> None:
    end = time.monotonic() + BOOT_S
    state = ""
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.TimeoutExpired):
            state = container.run("systemctl", "is-system-running", check=False).strip()
        if state in ("running", "degraded"):
            return
        time.sleep(0.05)
    raise OSError(f"the container did not boot: {state}")


def _power_off(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # nspawn hands its --kill-signal on
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
