"""The arguments of `tarsd backup` and `tarsd restore`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_backup_commands(add: Any) -> None:
    """Add the commands; `add` is the parser's adder."""
    backup = add(
        "backup",
        "backup:backup",
        "Write a backup of what this PC remembers, while it works. The newest are kept in the data folder, one more is "
        "made and proven each night. It holds no keys, but all texts: keep it where only you can read it. Needs the "
        "right to read admin.token in the data folder.",
        "tarsd backup\ntarsd backup --to /media/usb/\ntarsd backup list",
    )
    backup.add_argument("--to", metavar="FILE|FOLDER", type=Path, help="copy it there too")
    parts: argparse._SubParsersAction[Any] = backup.add_subparsers(metavar="list")
    add.part(parts, "list", "list the backups of this PC").set_defaults(command="backup:show")
    restore = add(
        "restore",
        "backup:restore",
        "Put a backup in the place of what this PC remembers. Stop tarsd first. All of it is verified before anything "
        "is changed, and what is there now is set aside, not deleted. What was written after the backup comes back "
        "from the other PCs; what was forgotten stays forgotten. A backup of an older version is restored as it is: "
        "that version can be started on it.",
        "tarsd restore /var/lib/tarsd/backups/pc1-20260501T030000.tarsd-backup\ntarsd restore --yes FILE",
    )
    restore.add_argument("file", metavar="FILE", type=Path, help="the backup; `tarsd backup list` shows them")
    restore.add_argument("--any-node", action="store_true", help="take a backup of another PC of this household")
    restore.add_argument("--yes", action="store_true", help="do not ask first")
