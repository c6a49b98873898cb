"""`tarsd run`: the daemon."""

from __future__ import annotations

import argparse

from tarsd.cli.exits import OK
from tarsd.config import find_config, load_config


def run(args: argparse.Namespace) -> int:
    """Run this PC's node until it is stopped."""
    config = load_config(find_config(args.config))
    from tarsd import node  # after the config: a wrong one is told at once

    node.run(config)
    return OK
