"""`python -m bench NAME [--quick] [--json FILE]`: runs a bench, prints its table, writes its rows."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import pkgutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec

import bench
from bench.harness import Context, Report, machine, table

FOLDER = Path(".bench")


def benches() -> dict[str, ModuleType]:
    """Return every module here that is a bench, by its name."""
    modules = (
        importlib.import_module(f"bench.{found.name}")
        for found in pkgutil.iter_modules(bench.__path__)
        if not found.name.startswith("_")
    )
    return {module.NAME: module for module in modules if hasattr(module, "NAME")}


def parser(known: dict[str, ModuleType]) -> argparse.ArgumentParser:
    """Return the command line: one subcommand for each bench, and `all`."""
    about = "\n".join(f"  {name:12} {(module.__doc__ or '').splitlines()[0]}" for name, module in sorted(known.items()))
    result = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measures tarsd.\n\n{about}\n  {'all':12} all of them, except the long ones",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = result.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in [*sorted(known), "all"]:
        module = known.get(name)
        command = commands.add_parser(name, description=module.__doc__ if module else "all benches, one after another")
        command.add_argument("--quick", action="store_true", help="end within 60 s, with fewer repetitions")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the rows and their samples to FILE")
        if module is not None and hasattr(module, "arguments"):
            module.arguments(command)
    return result


async def run_one(module: ModuleType, options: argparse.Namespace) -> Report:
    """Run one bench in a folder of its own under .bench/."""
    at = datetime.now(UTC)
    folder = FOLDER / f"{module.NAME}-{at:%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows = await module.run(Context(quick=options.quick, options=options, folder=folder))
    return Report(
        bench=module.NAME,
        quick=options.quick,
        at=at.isoformat(timespec="seconds"),
        machine=machine(),
        seconds=round(time.monotonic() - began, 1),
        rows=rows,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run what was named; 1 when an aim was missed on a quiet machine."""
    known = benches()
    command_line = parser(known)
    options = command_line.parse_args(arguments)
    chosen = [module for name, module in sorted(known.items()) if options.name in (name, "all")]
    if options.name == "all":
        chosen = [module for module in chosen if getattr(module, "IN_ALL", True)]
    reports = []
    for module in chosen:
        own = options
        if options.name == "all":  # each with the defaults of its own options
            own = command_line.parse_args([module.NAME, *(["--quick"] if options.quick else [])])
        report = asyncio.run(run_one(module, own))
        reports.append(report)
        print(f"\n{report.bench} ({report.seconds:.0f} s) on {report.machine}\n{table(report.rows)}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(reports), indent=1))
        print(f"\nwritten to {options.json}")
    missed = [row.figure for report in reports for row in report.rows if row.verdict == "missed"]
    if missed:
        print("missed: " + ", ".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
