"""What an answer must fit, as a grammar of llama.cpp (GBNF): a JSON schema, a call of a tool, or a grammar as it is.

All of it is foreign text: `engines.schemas` bounds a schema before its conversion, `engines.gbnf` what comes of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from llama_cpp.llama_grammar import json_schema_to_gbnf

from tarsd.calls import ChatRequest
from tarsd.engines import gbnf, schemas, toolcalls
from tarsd.errors import InvalidInput


class Grammar(NamedTuple):
    """The text, "" for an answer that is free; which field of the request it comes from."""

    text: str
    field: str


def grammar_of(asked: ChatRequest) -> Grammar:
    """Return what an answer must fit; raises `InvalidInput` naming the field."""
    if toolcalls.is_forced(asked.tools, asked.tool_choice):
        return _from_schema(lambda: toolcalls.schema_of_call(asked.tools, asked.tool_choice), "tools")
    if asked.json_schema:
        return _from_schema(lambda: schemas.prepared(asked.json_schema, "json_schema"), "json_schema")
    if asked.grammar:
        gbnf.check(asked.grammar)
    return Grammar(asked.grammar, "grammar")


def _from_schema(schema_of: Callable[[], dict[str, Any]], field: str) -> Grammar:
    try:
        schema = schema_of()
    except RecursionError as error:
        raise InvalidInput(f"{field}: its references lead too deep") from error
    schemas.check_optional(schema, field)
    try:
        grammar = str(json_schema_to_gbnf(json.dumps(schema)))
    except RecursionError as error:
        raise InvalidInput(f"{field}: the schema is too deep, or refers to itself without end") from error
    except Exception as error:  # the converter raises whatever its code does: KeyError, AssertionError, re.error …
        raise InvalidInput(f"{field}: this JSON schema cannot be held: {type(error).__name__}: {error}") from error
    gbnf.check(grammar, field)
    return Grammar(grammar, field)
