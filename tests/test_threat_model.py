"""THREAT_MODEL.md says nothing that is not so: each test named exists, and no threat of the list is left out."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
MODEL = (HERE / "THREAT_MODEL.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", MODEL)))


def test_every_test_that_the_threat_model_names_exists() -> None:
    missing = []
    for file, name in NAMED:
        path = HERE / file
        if not path.exists() or not re.search(rf"^(async )?def {name}\(", path.read_text(encoding="utf-8"), re.M):
            missing.append(f"{file}::{name}")
    assert missing == []
    assert len(NAMED) > 40


def test_every_threat_has_a_control_and_a_test_or_says_that_it_has_none() -> None:
    rows = re.findall(r"^\| (T\d+[a-z]?) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", MODEL, re.M)
    assert {f"T{number}" for number in range(1, 21)} <= {row[0] for row in rows}
    for threat, _, control, shown in rows:
        assert control.strip()
        assert "::test_" in shown or "no control" in shown.lower(), threat
