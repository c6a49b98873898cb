"""A document as a whole: what is admitted, and what is known of one that was read. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from tarsd.documents.chunk import Chunk
from tarsd.errors import DocumentError, InvalidInput
from tarsd.wire import MIB

_MAX_NAME = 255


class ParsedDocument(msgspec.Struct, frozen=True):
    """A document that was read: `pages` is 0 where the format has none, `problems` names the pages that were not."""

    sha256: str
    file: str
    size_bytes: int
    pages: int
    language: str
    problems: list[str] = []


def admitted_name(file: str, size_bytes: int, sha256: str, max_file_mib: int) -> str:
    """Return the bare file name of an upload; raises `InvalidInput` or `DocumentError` when it is not to be taken."""
    name = PurePosixPath(file.replace("\\", "/").replace("\0", "")).name[-_MAX_NAME:]
    if not name:
        raise InvalidInput("file: a document needs a name")
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise InvalidInput("sha256: 64 lower-case hex digits are needed")
    if size_bytes <= 0:
        raise DocumentError(f"{name} is empty")
    if size_bytes > max_file_mib * MIB:
        raise DocumentError(f"{name} has {size_bytes / MIB:.1f} MiB; documents.max_file_mib allows {max_file_mib}")
    return name


def main_language(chunks: list[Chunk]) -> str:
    """Return the language that most of the text is in, "" for none."""
    weights: dict[str, int] = {}
    for chunk in chunks:
        weights[chunk.language] = weights.get(chunk.language, 0) + len(chunk.text)
    return max(weights, key=lambda language: weights[language], default="")
