"""`tarsd token add|list|rm`: the named tokens of this PC's node, in its data folder; it need not be running."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tarsd.api import tokens
from tarsd.api.rates import Rate, rate_of
from tarsd.api.scopes import Scope
from tarsd.api.tokens import Token
from tarsd.cli.exits import OK
from tarsd.cli.language import texts_for
from tarsd.cli.terminal import printable, styled
from tarsd.cli.token_words import WORDS, TokenWords
from tarsd.config import find_config, load_config
from tarsd.errors import InvalidInput


def add(args: argparse.Namespace) -> int:
    """Make a token and print it; what is said about it goes to standard error: a script gets the token alone."""
    shown, token = tokens.minted(
        args.name,
        scopes_of(args.scope),
        time.time(),
        requests=_rate("requests", args.requests),
        tokens=_rate("tokens", args.tokens),
        valid_s=args.expires,
        person=args.person,
    )
    tokens.add(_file(args), token)
    if args.json:
        print(json.dumps({"token": shown} | _view(token)))
        return OK
    words = _words(args)
    print(shown)
    limits = ", ".join([f"{what} {rate or words.unlimited}" for what, rate in _limits(token, words)])
    print(words.made.format(name=token.name, scopes=", ".join(token.scopes), limits=limits), file=sys.stderr)
    if token.person:
        print(words.speaks.format(person=token.person), file=sys.stderr)
    for sentence in (words.once, words.show_as):
        print(styled(sentence, "dim"), file=sys.stderr)
    return OK


def show(args: argparse.Namespace) -> int:
    """List the tokens: what each opens, its limits, its end."""
    known, words = tokens.read(_file(args)), _words(args)
    if args.json:
        print(json.dumps({"tokens": [_view(token) for token in known]}))
        return OK
    if not known:
        print(words.none)
        return OK
    rows: list[tuple[str, ...]] = [(words.name, words.person, words.opens, words.requests, words.tokens, words.expires)]
    rows += [
        (
            printable(token.name),
            printable(token.person) or "-",
            ",".join(token.scopes),
            *(str(rate or words.unlimited) for _, rate in _limits(token, words)),
            _end(token, words),
        )
        for token in sorted(known, key=lambda token: token.name)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        print(line if number else styled(line, "bold"))
    return OK


def remove(args: argparse.Namespace) -> int:
    """Remove a token; exit code 1 where there is none of that name."""
    token = tokens.remove(_file(args), args.name)
    print(json.dumps(_view(token)) if args.json else _words(args).removed.format(name=token.name))
    return OK


def scopes_of(text: str) -> list[Scope]:
    """Return the scopes in a text such as chat,documents; raises `InvalidInput`."""
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in set(Scope)]
    if unknown or not wanted:
        what = repr(unknown[0]) if unknown else "nothing"
        raise InvalidInput(f"--scope: {what} is no scope; there is {', '.join(Scope)}")
    return [Scope(word) for word in wanted]


def _rate(option: str, text: str | None) -> Rate | None:
    try:
        return None if text is None else rate_of(text)
    except ValueError as error:
        raise InvalidInput(f"--{option}: {error}") from error


def _limits(token: Token, words: TokenWords) -> list[tuple[str, Rate | None]]:
    return [(words.requests, token.requests), (words.tokens, token.tokens)]


def _end(token: Token, words: TokenWords) -> str:
    if token.expires_at is None:
        return words.never
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(token.expires_at))
    return words.expired.format(when=when) if token.has_expired(time.time()) else when


def _view(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "person": token.person,
        "scopes": list(token.scopes),
        "requests": str(token.requests) if token.requests else None,
        "tokens": str(token.tokens) if token.tokens else None,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }


def _file(args: argparse.Namespace) -> Path:
    return load_config(find_config(args.config)).node.data_dir / tokens.FILE


def _words(args: argparse.Namespace) -> TokenWords:
    return WORDS[texts_for(args.lang).code]
