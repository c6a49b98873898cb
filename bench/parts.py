"""A bench of several parts: `bench.<name>_<part>` has `async def rows(context)`; `--only` picks some."""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Mapping

from bench.harness import Context, NotAvailableError, Row


def add_only(parser: argparse.ArgumentParser, parts: Mapping[str, str]) -> None:
    """Add the option that picks parts."""

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := sorted(set(chosen) - set(parts)):
            raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are {', '.join(parts)}")
        return chosen

    parser.add_argument(
        "--only",
        action="append",
        type=names,
        metavar="PART[,PART]",
        help=f"only these parts; may be repeated: {', '.join(parts)}",
    )


async def run_parts(context: Context, bench: str, parts: Mapping[str, str]) -> list[Row]:
    """Run the chosen parts one after another; what cannot be measured here is a row that says why."""
    rows: list[Row] = []
    chosen = [part for several in context.options.only or [list(parts)] for part in several]
    for part in chosen:
        began, before = time.monotonic(), len(rows)
        async with context.watched(rows):
            try:
                rows += await importlib.import_module(f"bench.{bench}_{part}").rows(context)
            except NotAvailableError as error:
                rows.append(Row(figure=parts[part], unit="", samples=[], missing=str(error)))
        print(f"{bench} {part}: {len(rows) - before} rows in {time.monotonic() - began:.0f} s", flush=True)
    return rows
