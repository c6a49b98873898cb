"""What a node watches of its own parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tarsd.config import Config, load_config
from tarsd.identity import init_cluster
from tarsd.node import Node


class Api:
    def problem(self) -> str:
        return "peers for clients ended"


def config_in(folder: Path) -> Config:
    file = folder / "tarsd.toml"
    file.write_text(f"[node]\ndata_dir = '{folder / 'data'}'\n", encoding="utf-8")
    return load_config(file)


async def test_a_task_of_the_api_that_ended_is_a_problem_of_the_node(tmp_path):
    init_cluster(tmp_path / "data", "pc1")
    node = Node(config_in(tmp_path))
    assert not [problem for problem in node.supervisor.problems() if problem.startswith("api")]
    node.api = cast("Any", Api())
    assert "api: peers for clients ended" in node.supervisor.problems()
