"""What a node needs of the PC it runs on: secrets kept in files, a free port."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from tarsd.errors import StorageError


def file_secret(path: Path) -> str:
    """Return the secret in `path`, made at first; mode 0600. Raises `StorageError`."""
    try:
        kept = path.read_text(encoding="ascii").strip() if path.exists() else ""
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    return kept or _new_secret(path)


def _new_secret(path: Path) -> str:
    secret = secrets.token_urlsafe(32)
    try:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secret + "\n")
        os.replace(fresh, path)  # whole or not at all: an empty secret would lock everybody out
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    return secret


def free_port(host: str) -> int:
    """Return a TCP port that is free now; an invitation names it before anything listens there."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return int(probe.getsockname()[1])
