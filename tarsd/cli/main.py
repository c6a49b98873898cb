"""Runs one command: reads the arguments, calls it, turns its error into a sentence and an exit code.

A command is a function `(args) -> exit code` in a module that is imported only when it is called: `tarsd --help`
must not wait for an HTTP client.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from tarsd.cli.exits import INTERRUPTED, OK, code_of
from tarsd.cli.parser import build_parser
from tarsd.errors import TarsdError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (the process's own by default) and return its exit code."""
    args = build_parser().parse_args(arguments)
    module, _, function = args.command.partition(":")
    try:
        code: int = getattr(importlib.import_module(f"tarsd.cli.{module}"), function)(args)
        sys.stdout.flush()
    except TarsdError as error:
        print(f"tarsd: {error}", file=sys.stderr)
        return code_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output left (`| head`); Python would complain again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code
