"""Files beside the database in which something forgotten may stand. Blocking: to be called in a thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def delete_files(folder: Path, is_kept: Callable[[Path], bool]) -> int:
    """Delete files of vectors that nobody keeps clean; return how many. They are filled again when they are needed.

    A file that a save has not finished (`.new`) is let be only beside one that is kept: that save goes on.
    """
    gone = 0
    for path in folder.glob("*.vectors*"):
        if not is_kept(path.with_name(path.name.removesuffix(".new"))):
            path.unlink(missing_ok=True)
            gone += 1
    return gone
