"""The unit as a file: understood by systemd in every line, and hardened to the promised exposure."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNIT = PACKAGING / "systemd" / "tarsd.service"
CHECK = PACKAGING / "systemd" / "check.sh"

needs_systemd_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")


def check(unit, *more):
    return subprocess.run([str(CHECK), str(unit), *more], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd_analyze
def test_the_unit_is_valid_and_its_exposure_at_most_1_2():
    result = check(UNIT)
    print(result.stdout.strip())
    assert result.returncode == 0, result.stderr
    assert float(re.search(r": ([0-9.]+) ", result.stdout)[1]) <= 1.2


@needs_systemd_analyze
@pytest.mark.parametrize(
    ("line", "instead"),
    [("WatchdogSec=10", "WatchdogSec=soon"), ("NoNewPrivileges=yes", "NoNewPrivilege=yes")],
)
def test_a_line_that_systemd_does_not_understand_fails_the_check(tmp_path, line, instead):
    unit = tmp_path / "tarsd.service"
    text = UNIT.read_text(encoding="utf-8")
    assert line in text
    unit.write_text(text.replace(line, instead), encoding="utf-8")
    result = check(unit)
    assert result.returncode == 1
    assert "systemd-analyze verify" in result.stderr


@needs_systemd_analyze
def test_an_exposure_over_the_limit_fails_the_check(tmp_path):
    unit = tmp_path / "tarsd.service"
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("CapabilityBoundingSet=\n", "").replace("IPAddressDeny=any\n", ""), encoding="utf-8")
    result = check(unit)
    assert result.returncode == 1
    assert "over the limit" in result.stderr


def test_every_group_of_settings_is_explained():
    """A setting that nobody can justify gets removed by the first person it annoys."""
    groups = re.split(r"^# --- .*$", UNIT.read_text(encoding="utf-8").partition("[Service]")[2], flags=re.MULTILINE)[1:]
    assert len(groups) >= 8
    for group in groups:
        assert re.search(r"^# \w", group, re.MULTILINE), group
