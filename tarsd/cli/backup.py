"""`tarsd backup`, `tarsd backup list`, `tarsd restore`: the records of this PC, set aside and brought back."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from tarsd.cli.backup_words import BackupWords, backup_words
from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import FAILED, OK
from tarsd.cli.language import texts_for
from tarsd.cli.models import in_bytes
from tarsd.cli.terminal import printable, styled, table
from tarsd.config import find_config, load_config
from tarsd.errors import InvalidInput


def backup(args: argparse.Namespace) -> int:
    """Let the running node write a backup; with --to, copy it there too, as the one who runs this."""
    words = _words(args)
    if args.to and not (args.to.is_dir() or args.to.parent.is_dir()):
        raise InvalidInput(words.no_folder.format(folder=args.to.parent))  # before a backup is made for it
    made = asyncio.run(_make(args))
    copy = _copy(Path(made["path"]), args.to, words) if args.to else None
    if args.json:
        print(msgspec.json.encode(made | ({"copy": str(copy)} if copy else {})).decode())
        return OK
    records, size = made["manifest"]["counts"]["records"], in_bytes(made["file_bytes"])
    print(printable(words.made.format(records=records, path=made["path"], size=size)))
    if copy:
        print(printable(words.copied.format(path=copy)))
    return OK


async def _make(args: argparse.Namespace) -> dict[str, Any]:
    async with ApiClient(target_of(args, admin=True)) as client:
        made: dict[str, Any] = await client.json("POST", "/api/backup")
        return made


def _copy(source: Path, wanted: Path, words: BackupWords) -> Path:
    """Copy a backup, whole or not at all; into a folder it keeps its name."""
    from tarsd.memory.backup_file import disk_errors, sync_folder

    to = wanted / source.name if wanted.is_dir() else wanted
    if not source.exists():
        raise InvalidInput(words.no_copy)
    draft = to.with_name(f"{to.name}.part")
    with disk_errors(to):
        try:
            draft.touch(mode=0o600)
            with source.open("rb") as reading, draft.open("wb") as writing:
                shutil.copyfileobj(reading, writing)
                writing.flush()
                os.fsync(writing.fileno())
            draft.replace(to)
            sync_folder(to.parent)
        finally:
            draft.unlink(missing_ok=True)
    return to


def show(args: argparse.Namespace) -> int:
    """List the backups of this PC, newest first; the node need not be running."""
    from tarsd.memory.backup_file import FOLDER, listed

    folder = load_config(find_config(args.config)).node.data_dir / FOLDER
    found, words = listed(folder), _words(args)
    if args.json:
        print(msgspec.json.encode({"backups": found}).decode())
        return OK
    if not found:
        print(words.none.format(folder=folder))
        return OK
    rows = [list(words.header)]
    for each in found:
        about = each.manifest
        told = [_date(about.made_at), about.name, str(about.counts["records"])] if about else ["", "", ""]
        rows.append([Path(each.path).name, *told, in_bytes(each.file_bytes), each.problem and "!"])
    print(table([printable(cell) for cell in rows[0]], [[printable(cell) for cell in row] for row in rows[1:]]))
    for each in found:
        if each.problem:
            print(styled(f"! {printable(each.problem)}", "yellow", sys.stdout))
    return OK


def restore(args: argparse.Namespace) -> int:
    """Put a backup in the place of this PC's records, after asking; the node has to be stopped."""
    from tarsd.identity import load_identity
    from tarsd.memory import restore as restoring
    from tarsd.memory.backup_file import read_manifest

    folder, words = load_config(find_config(args.config)).node.data_dir, _words(args)
    node = load_identity(folder).node_id
    about = read_manifest(args.file)
    told = {"name": printable(about.name), "at": _date(about.made_at), "records": about.counts["records"]}
    if not args.yes and not _agreed(words.sure.format(**told), words):
        return FAILED
    done = restoring.restore(args.file, folder / "memory.db", node, any_node=args.any_node)
    if args.json:
        print(msgspec.json.encode(done).decode())
        return OK
    print(styled(words.restored.format(**told), "bold", sys.stdout))
    if done.aside:
        print(words.aside.format(path=folder / done.aside))
    if done.forgotten:
        print(words.forgotten.format(count=done.forgotten))
    if done.note:
        print(styled(f"! {printable(done.note)}", "yellow", sys.stdout))
    print(words.next)
    return OK


def _agreed(question: str, words: BackupWords) -> bool:
    print(question, end="", flush=True, file=sys.stderr)
    if sys.stdin.readline().strip().lower() in (words.yes, words.yes[0], "yes", "y", "si"):
        return True
    print(words.not_done, file=sys.stderr)
    return False


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _words(args: argparse.Namespace) -> BackupWords:
    return backup_words(texts_for(args.lang).code)
