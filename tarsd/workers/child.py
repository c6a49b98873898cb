"""The child's side of a worker: `python -m tarsd.workers.child FD`, started by `tarsd.workers.process` only.

The main thread builds the worker's class and runs its calls: one after another, or in turns (`workers.turns`). A
reader thread takes requests and cancels and answers beats, so a parent sees a life sign while native code computes with
the GIL released.
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
import sys
import threading
import traceback

from tarsd.errors import EngineUnavailable, TarsdError, WireError
from tarsd.wire import Kind
from tarsd.workers import limits, protocol, turns
from tarsd.workers.channel import Channel


def _build(start: protocol.Start) -> object:
    """Import and build the worker's class; raises `TarsdError` with the reason why not."""
    module, _, name = start.target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(start.settings)
    except TarsdError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise EngineUnavailable(f"{type(error).__name__}: {error}") from error


def main() -> None:
    """Become the worker that the parent asks for, and serve until it says END or goes away."""
    pipe = socket.socket(fileno=int(sys.argv[1]))
    pipe.set_inheritable(False)
    os.dup2(2, 1)  # what native code prints is for the log
    channel = Channel(pipe)
    try:
        start = channel.read_start()
    except (StopIteration, WireError):
        return
    limits.die_with_parent(start.parent_pid)
    try:
        limits.apply(start.limits)
        threading.Thread(target=channel.read_forever, name="reader", daemon=True).start()
        worker = _build(start)
    except TarsdError as error:
        channel.send_error(protocol.START, error)
        return
    gc.collect()
    gc.freeze()  # what a model's import made stays; collections need not walk it between two tokens
    channel.send(Kind.END, protocol.START)
    turns.serve(worker, channel)
    close = getattr(worker, "close", None)
    if close is not None:
        close()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # native libraries' atexit handlers have been seen to crash or to wait for their threads
