"""Where log lines go: standard error (the journal under systemd) and a daily file that `cleanup_logs` keeps short.

Files are written by a thread: a slow disk must not stall the event loop.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MAX_WAITING_LINES = 10_000  # beyond it lines are dropped rather than memory filled


class _DroppingHandler(logging.handlers.QueueHandler):
    """Drops lines when the writer cannot keep up."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a record into the queue if there is room."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


@contextmanager
def logging_to(folder: Path, level: str, keep_days: int) -> Generator[None, None, None]:
    """Log to standard error and `folder` while the block runs; a folder that cannot be written costs only the file."""
    outputs: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    problem = ""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        outputs.append(
            logging.handlers.TimedRotatingFileHandler(
                folder / "tarsd.log", when="midnight", backupCount=keep_days, encoding="utf-8"
            )
        )
    except OSError as error:
        problem = f"{folder}: {error.strerror}; logging to standard error only"
    form = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for output in outputs:
        output.setFormatter(form)
    lines: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING_LINES)
    root = logging.getLogger()
    handler = _DroppingHandler(lines)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    listener = logging.handlers.QueueListener(lines, *outputs)
    listener.start()
    if problem:
        logging.getLogger(__name__).warning(problem)
    try:
        yield
    finally:
        root.removeHandler(handler)
        listener.stop()
        for output in outputs:
            output.close()
