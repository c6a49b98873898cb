"""`tarsd run`: the daemon."""

from __future__ import annotations

import argparse
import os

from tarsd.cli.exits import OK
from tarsd.config import find_config, load_config

_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def run(args: argparse.Namespace) -> int:
    """Run this PC's node until it is stopped."""
    config = load_config(find_config(args.config))
    _import_aiohttp_alone()
    from tarsd import node  # after the config: a wrong one is told at once

    node.run(config)
    return OK


def _import_aiohttp_alone() -> None:
    """Import aiohttp while `ssl` finds no public authorities.

    It would read them all into a context when it is imported, 2 MiB for as long as the daemon lives. Nodes trust their
    own root alone; what calls a public server makes its own context (`engines/openai`).
    """
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    try:
        import aiohttp.connector  # noqa: F401
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
