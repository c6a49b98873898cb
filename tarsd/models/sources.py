"""Pure: where a model comes from, in words, and what it is called.

Rules
1. "hf:owner/repository/path/file.gguf" is a file of the hub, at its branch `main`; with "@revision" after the
   repository at that one. Ollama's spelling "hf.co/owner/repository/file.gguf" means the same.
2. Any other text is the path of a file on this PC; "" is no source: a peer must have it.
3. A name is a file's without its ending, or the catalog's; it is safe as a file's name.
"""

from __future__ import annotations

import re
from pathlib import PurePath

import msgspec

from tarsd.errors import InvalidInput

_PREFIXES = ("hf:", "hf.co/", "huggingface.co/")
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB = re.compile(rf"({_PART})/({_PART})(?:@({_PART}))?/((?:{_PART}/){{0,6}}{_PART}\.gguf)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubFile(msgspec.Struct, frozen=True):
    """A file of the hub."""

    owner: str
    repository: str
    path: str
    revision: str = "main"


def is_hub(source: str) -> bool:
    """Tell whether `source` means the hub."""
    return source.startswith(_PREFIXES)


def hub_file(source: str) -> HubFile:
    """Return the file of the hub that `source` names; raises `InvalidInput`."""
    rest = next((source.removeprefix(prefix) for prefix in _PREFIXES if source.startswith(prefix)), source)
    found = _HUB.fullmatch(rest)
    if found is None or ".." in rest:
        raise InvalidInput(f"source: {source[:200]!r} is not of the form hf:owner/repository/file.gguf")
    owner, repository, revision, path = found.groups()
    return HubFile(owner, repository, path, revision or "main")


def name_of(path: str | PurePath) -> str:
    """Return what a file's model is called."""
    return PurePath(path).name.removesuffix(".gguf")


def check_name(name: str) -> str:
    """Return `name` if a model may be called so; raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"name: {name[:80]!r} must be 1 to 64 letters, digits, dots, colons, hyphens, underscores")
    return name


def check_sha256(sha256: str) -> str:
    """Return `sha256` if it is one, or ""; raises `InvalidInput`."""
    if sha256 and not _SHA256.fullmatch(sha256):
        raise InvalidInput("sha256: expected 64 small hex digits")
    return sha256
