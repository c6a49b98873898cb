"""`tarsd memory export|import`: all that is remembered, into a file and in again."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, Any

import msgspec

from tarsd.cli.exits import FAILED, OK
from tarsd.cli.memory_common import client_of, print_json, tell_copies, words_of
from tarsd.cli.terminal import printable, styled
from tarsd.errors import InvalidInput, StorageError, Unavailable

_CHUNK_BYTES = 256 * 1024


def export(args: argparse.Namespace) -> int:
    """Write the file; one that is there already is not written over, and one that was cut off is not kept."""
    words = words_of(args)
    if not args.output or args.output == "-":
        asyncio.run(_export(args, sys.stdout.buffer))
        sys.stdout.buffer.flush()
        return OK
    target = Path(args.output)
    if target.exists():
        raise InvalidInput(words.exists.format(file=target))
    beside = target.with_name(target.name + ".part")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # what is in it is private
        with os.fdopen(handle, "wb") as file:
            count = asyncio.run(_export(args, file))
        beside.replace(target)
    except OSError as error:
        raise StorageError(f"--output: {target} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
    if args.json:
        print_json({"file": str(target), "entries": count})
    else:
        print(words.exported.format(count="-" if count is None else count, file=target), file=sys.stderr)
    return OK


async def _export(args: argparse.Namespace, file: IO[bytes]) -> int | None:
    """Write the export; returns how many entries it has, None where its form does not tell."""
    params = {"format": args.format}
    async with client_of(args) as client:
        if args.format == "markdown":
            async for piece in client.pieces("GET", "/api/memory/export", params=params):
                file.write(piece)
            return None
        count: int | None = None
        async for line in client.lines("GET", "/api/memory/export", params=params):
            file.write(msgspec.json.encode(line) + b"\n")
            count = line["entries"] if line.get("tarsd") == "end" else None
    if count is None:
        raise Unavailable("the export was cut off: its last line is missing")
    return count


def import_file(args: argparse.Namespace) -> int:
    """Take a file in; exit code 1 where a line was refused or the file was cut off."""
    found = asyncio.run(_import(args))
    if args.json:
        print_json(found)
    else:
        _tell(args, found)
    return OK if found["is_whole"] and not found["refused"] else FAILED


def _tell(args: argparse.Namespace, found: dict[str, Any]) -> None:
    words = words_of(args)
    sentence = words.import_preview if found["preview"] else words.import_done
    print(sentence.format(new=found["new"], known=found["known"], refused=found["refused"]))
    for error in found["errors"]:
        shown = {name: printable(str(value)) for name, value in error.items()}
        print(styled(words.import_line.format(**shown), "red", sys.stderr), file=sys.stderr)
    if others := found["refused"] - len(found["errors"]):
        print(words.import_others.format(count=others), file=sys.stderr)
    if not found["is_whole"]:
        print(styled(words.import_cut, "yellow", sys.stderr), file=sys.stderr)
    if found["copies"]:
        tell_copies(found["copies"], words)


async def _import(args: argparse.Namespace) -> Any:
    source = _open(args.file)
    async with client_of(args) as client:
        try:
            return await client.json(
                "POST",
                "/api/memory/import",
                params={"preview": int(args.preview)},
                upload=_pieces(source),
            )
        finally:
            source.close()


def _open(name: str) -> IO[bytes]:
    if name == "-":
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InvalidInput(f"FILE: {name} cannot be read: {error.strerror}") from error


async def _pieces(source: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await asyncio.to_thread(source.read, _CHUNK_BYTES):
        yield piece
