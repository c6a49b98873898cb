"""The daemon's part of models costs nothing that a lean node does not have."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("gguf", "huggingface_hub", "llama_cpp", "numpy", "torch", "transformers", "ollama", "openai", "httpx")


def test_the_role_that_runs_models_imports_no_model_library() -> None:
    code = f"import sys, tarsd.roles.cognitive\nprint([name for name in {HEAVY!r} if name in sys.modules])\n"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
