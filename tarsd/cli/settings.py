"""`tarsd config check` and `tarsd config show`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec

from tarsd.cli.exits import OK
from tarsd.config import Config, find_config, load_config


def check(args: argparse.Namespace) -> int:
    """Read the config and say that it is good; a wrong one is an error that names file, key and fix."""
    path = find_config(args.file or args.config)
    load_config(path)
    print(
        json.dumps({"file": str(path) if path else None, "valid": True}) if args.json else f"{path or 'defaults'}: good"
    )
    return OK


def show(args: argparse.Namespace) -> int:
    """Print every setting in force, as TOML that can be read back, or as JSON."""
    table = as_table(load_config(find_config(args.file or args.config)))
    print(json.dumps(table) if args.json else to_toml(table))
    return OK


def as_table(config: Config) -> dict[str, Any]:
    """Return the config as plain data, without what is not set."""
    table: dict[str, Any] = msgspec.to_builtins(config, enc_hook=_plain)
    return _without_none(table)  # type: ignore[no-any-return]


def to_toml(table: dict[str, Any]) -> str:
    """Return a config's table as TOML: sections of plain values, and lists of tables as [[section.name]]."""
    lines: list[str] = []
    for section, values in table.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items() if not _is_tables(value)]
        for key, tables in values.items():
            for entry in tables if _is_tables(tables) else ():
                lines += ["", f"[[{section}.{key}]]", *(f"{name} = {_value(value)}" for name, value in entry.items())]
        lines.append("")
    return "\n".join(lines).rstrip()


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    # TOML's strings, numbers and booleans are JSON's
    return json.dumps(value, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_without_none(part) for part in value]
    return value
