"""A node pays only for what it uses: the daemon's modules import no model library."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("llama_cpp", "ollama", "openai", "torch", "transformers", "sentence_transformers", "numpy", "httpx", "jinja2")


def test_the_engines_modules_import_no_model_library() -> None:
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "import tarsd.engines.chain, tarsd.engines.sentence_transformers\n"
        "for plug in entry_points(group='tarsd.engines'): plug.load()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
