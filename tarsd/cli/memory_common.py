"""What the words of `tarsd memory` share: which token speaks, keys in a path, dates, asking first."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.language import texts_for
from tarsd.cli.memory_texts import WORDS, MemoryWords
from tarsd.cli.terminal import printable, styled
from tarsd.errors import InvalidInput

SECONDS_OF_9999 = 253_402_300_799.0  # later dates cannot be shown


def client_of(args: argparse.Namespace) -> ApiClient:
    """Return the client of the node that the arguments mean; with --all it shows the admin token."""
    return ApiClient(target_of(args, admin=args.everybody))


def words_of(args: argparse.Namespace) -> MemoryWords:
    """Return the words of the language that the arguments or the environment mean."""
    return WORDS[texts_for(args.lang).code]


def path_of(key: str) -> str:
    """Return where a memory is; a key is a path already, and anything else in it is quoted."""
    if not key.strip() or ".." in key.split("/"):
        raise InvalidInput(f"KEY: {key!r} is no key; `tarsd memory list` shows them")
    return f"/api/memories/{quote(key)}"


def print_json(found: object) -> None:
    """Print for a program."""
    print(msgspec.json.encode(found).decode())


def agreed(question: str, words: MemoryWords) -> bool:
    """Ask on the terminal; whatever is not the word for yes is no."""
    print(question, end="", file=sys.stderr, flush=True)
    said = sys.stdin.readline().strip().lower()
    return bool(said) and said in (words.yes, words.yes[0])


def day_of(at: float) -> str:
    """Return the day of a time in seconds since 1970, "-" for none."""
    return time.strftime("%Y-%m-%d", time.localtime(min(at, SECONDS_OF_9999))) if at else "-"


def moment_of(at: float) -> str:
    """Return day and time of day, "-" for none."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(min(at, SECONDS_OF_9999))) if at else "-"


def seconds_of(option: str, text: str) -> float:
    """Return the seconds since 1970 of a date or time such as 2026-05-04; raises `InvalidInput`."""
    if text in ("", "-"):
        return 0.0  # takes the bound away again
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"--{option}: {text!r} is no date such as 2026-05-04") from error


def tell_copies(copies: Mapping[str, Any], words: MemoryWords) -> None:
    """Say on how many PCs a write is, where these are fewer than they should be aloud."""
    if copies["degraded"]:
        told = words.few_copies.format(
            copies=copies["copies"], wanted=copies["wanted"], reason=printable(copies["degraded"])
        )
        print(styled(told, "yellow", sys.stderr), file=sys.stderr)
    else:
        print(styled(words.copies.format(copies=copies["copies"]), "dim", sys.stderr), file=sys.stderr)
