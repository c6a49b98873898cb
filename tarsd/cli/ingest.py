"""`tarsd ingest`: reads documents in, one after the other, and tells how each one went.

A file that fails does not stop the others; the exit code says whether all are in.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from tarsd import errors, wire
from tarsd.calls import IngestItem
from tarsd.cli import exits
from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.language import Texts, texts_for
from tarsd.cli.terminal import Progress, styled, table

SUFFIXES = frozenset({".pdf", ".txt", ".md", ".markdown"})


def ingest(args: argparse.Namespace) -> int:
    """Read in every file that the arguments name or hold."""
    texts = texts_for(args.lang)
    files = list(find_files([Path(path).expanduser() for path in args.paths], texts))
    results = asyncio.run(_ingest_all(args, files, texts))
    if args.json:
        for result in results:
            print(msgspec.json.encode(result).decode())
    else:
        print(_told(results, texts))
    return exits.OK if all(result.stage != "failed" for result in results) else exits.FAILED


def find_files(paths: Sequence[Path], texts: Texts) -> Iterator[Path]:
    """Yield the files to read, each once: named ones as they are, folders searched; raises `InvalidInput`."""
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise errors.InvalidInput(f"{path}: {texts.missing}")
        found = [path] if not path.is_dir() else sorted(p for p in path.rglob("*") if _is_document(p))
        if not found:
            raise errors.InvalidInput(texts.nothing.format(path=path))
        for file in found:
            if (place := file.resolve()) not in seen:
                seen.add(place)
                yield file


def _is_document(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")


async def _ingest_all(args: argparse.Namespace, files: Sequence[Path], texts: Texts) -> list[IngestItem]:
    results: list[IngestItem] = []
    progress = Progress()
    options: dict[str, str | int] = {"language": args.language, "wait": int(not args.no_wait)}
    async with ApiClient(target_of(args)) as client:
        for file in files:
            try:
                results.append(await _ingest_one(client, file, options, texts, progress))
            except (errors.InvalidInput, errors.StorageError, OSError) as error:
                reason = texts.unreadable.format(reason=error.strerror) if isinstance(error, OSError) else str(error)
                results.append(IngestItem(job="", file=file.name, stage="failed", reason=reason))
            finally:
                progress.clear()
    return results


async def _ingest_one(
    client: ApiClient, file: Path, options: dict[str, str | int], texts: Texts, progress: Progress
) -> IngestItem:
    size = (await asyncio.to_thread(file.stat)).st_size
    last = IngestItem(job="", file=file.name, stage="failed", reason="")

    def sent(done: int) -> None:
        progress.show(file.name, texts.uploading, done, size)

    opened = await asyncio.to_thread(file.open, "rb")
    with opened:
        lines = client.lines(
            "POST",
            "/api/documents",
            upload=_chunks(opened, sent) if size else None,  # an empty one is the node's to refuse
            upload_bytes=size,
            params={"file": file.name, **options},
        )
        async for line in lines:
            last = msgspec.convert(line, IngestItem)
            progress.show(file.name, texts.stages[last.stage], last.done, last.total)
    return last


async def _chunks(file: IO[bytes], sent: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    done = 0
    while data := await asyncio.to_thread(file.read, wire.UPLOAD_CHUNK_BYTES):
        yield data
        done += len(data)
        sent(done)


def _told(results: Sequence[IngestItem], texts: Texts) -> str:
    rows = [[r.file, texts.stages[r.stage], str(r.passages) if r.passages else "", r.reason] for r in results]
    good = sum(result.stage != "failed" for result in results)
    summary = texts.summary.format(good=good, all=len(results))
    style = "green" if good == len(results) else "yellow"
    return table([texts.file, texts.result, texts.passages, texts.reason], rows) + "\n" + styled(summary, style)
