"""What an answer must fit, as a grammar of llama.cpp (GBNF): a JSON schema, a call of a tool, or a grammar as it is.

A schema is foreign text: it is bounded before and after its conversion, and fetches nothing.
"""

from __future__ import annotations

import json

from llama_cpp.llama_grammar import json_schema_to_gbnf

from tarsd.calls import ChatRequest
from tarsd.engines import toolcalls
from tarsd.errors import InvalidInput
from tarsd.wire import KIB

SCHEMA_BYTES = 64 * KIB
GRAMMAR_BYTES = 256 * KIB
DEPTH = 64
_ANY_OBJECT = '{"type": "object"}'


def grammar_of(asked: ChatRequest) -> str:
    """Return the grammar of an answer, "" for free text; raises `InvalidInput` naming the field."""
    if toolcalls.is_forced(asked.tools, asked.tool_choice):
        return _from_schema(toolcalls.schema_of_call(asked.tools, asked.tool_choice), "tools")
    if asked.json_schema:
        return _from_schema(asked.json_schema, "json_schema")
    if len(asked.grammar) > GRAMMAR_BYTES:
        raise InvalidInput(f"grammar: {len(asked.grammar)} bytes, at most {GRAMMAR_BYTES} are taken")
    return asked.grammar


def _from_schema(schema: str, field: str) -> str:
    if len(schema) > SCHEMA_BYTES:
        raise InvalidInput(f"{field}: a schema of {len(schema)} bytes, at most {SCHEMA_BYTES} are taken")
    try:
        value = json.loads(schema)
        if not isinstance(value, dict):
            raise InvalidInput(f"{field}: expected a JSON schema that is an object")
        if _depth(value) > DEPTH:
            raise InvalidInput(f"{field}: a schema nested over {DEPTH} deep is not taken")
        grammar = json_schema_to_gbnf(schema if value else _ANY_OBJECT)
    except InvalidInput:
        raise
    except RecursionError as error:
        raise InvalidInput(f"{field}: the schema refers to itself without end") from error
    except Exception as error:  # the converter raises whatever its code does: KeyError, AssertionError, re.error …
        raise InvalidInput(f"{field}: this JSON schema cannot be held: {type(error).__name__}: {error}") from error
    if len(grammar) > GRAMMAR_BYTES:
        raise InvalidInput(f"{field}: the schema becomes a grammar of {len(grammar)} bytes, which is too large")
    return str(grammar)


def _depth(value: object) -> int:
    """Return how deep lists and objects are nested; without recursion, since the depth is foreign."""
    depth, layer = 0, [value]
    while layer and depth <= DEPTH:
        depth += 1
        layer = [inner for one in layer for inner in _inside(one)]
    return depth


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []
