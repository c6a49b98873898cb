"""llama.cpp's own C++ server (package `xllamacpp`), in a process of its own, over HTTP on loopback.

`python -m bench.inference_native MODEL.gguf PORT THREADS CONTEXT SLOTS` says so once it listens, and serves until it is
killed. Context and slots as on our side: all slots share one context.
"""

from __future__ import annotations

import sys
import threading


def main() -> None:
    """Serve."""
    import xllamacpp

    model, port, threads, context_tokens, slots = sys.argv[1], *map(int, sys.argv[2:6])
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = context_tokens
    params.n_parallel = slots
    params.kv_unified = True
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
