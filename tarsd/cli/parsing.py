"""What every command's parser is made of: our exit code, the options of all commands, help with examples, times."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

from tarsd.cli import exits


class Parser(argparse.ArgumentParser):
    """argparse with our exit code for wrong usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit."""
        self.print_usage()
        self.exit(exits.USAGE, f"{self.prog}: {message}\nTry: {self.prog} --help\n")

    def print_usage(self, file: object = None) -> None:
        """Print the usage where errors go: standard output belongs to results."""
        import sys

        super().print_usage(sys.stderr)


def add_common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Options that stand before or after the command; after it they have no default, which would undo the former."""

    def default(value: object) -> object:
        return value if top else argparse.SUPPRESS

    group = parser.add_argument_group("for every command")
    group.add_argument("--config", metavar="FILE", default=default(None), help="config file (else /etc/tarsd.toml)")
    group.add_argument("--api", metavar="URL", default=default(None), help="talk to this node, not to the local one")
    group.add_argument("--json", action="store_true", default=default(False), help="output for programs")
    group.add_argument("--lang", choices=("en", "es"), default=default(None), help="language of messages (else LANG)")


Parts: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - it has no public name


class Adder:
    """Adds a command with its help, examples and shared options."""

    def __init__(self, commands: Parts, common: Parser) -> None:
        self._commands = commands
        self._common = common

    def __call__(self, name: str, command: str, about: str, examples: str) -> Parser:
        """Add a command; `command` is `module:function` below `tarsd.cli`."""
        shown = "\n".join(f"  {line}" for line in examples.strip().splitlines())
        parser = self._commands.add_parser(
            name,
            help=about[0].lower() + about[1:].rstrip(".").partition(". ")[0],
            description=about,
            epilog=f"examples:\n{shown}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[self._common],
        )
        parser.set_defaults(command=command)
        return parser

    def part(self, parts: Parts, name: str, about: str) -> Parser:
        """Add a command of a command."""
        description = about[0].upper() + about[1:] + "."
        return parts.add_parser(name, help=about, description=description, parents=[self._common])


def duration(text: str) -> float:
    """Return the seconds in a text such as 90s, 30m, 1h or 2d."""
    return _duration(text, 30, "1h")


def lifetime(text: str) -> float:
    """Return the seconds in a text such as 12h or 90d, up to ten years."""
    return _duration(text, 3650, "90d")


def _duration(text: str, most_days: int, example: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = 0.0
    if not 60.0 <= seconds <= most_days * 86400.0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time from 1m to {most_days}d, such as 30m, {example} or 2d"
        )
    return seconds
