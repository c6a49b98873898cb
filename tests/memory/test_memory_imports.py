from __future__ import annotations

import subprocess
import sys


def test_the_daemon_loads_neither_numpy_nor_faiss() -> None:
    code = (
        "import sys, tarsd.memory.store, tarsd.memory.vectors, tarsd.memory.fusion, tarsd.memory.conversations,"
        "tarsd.memory.extractive, tarsd.memory.cache;"
        "print([name for name in ('numpy', 'faiss', 'torch') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
