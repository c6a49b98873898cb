"""Turns msgspec's complaint about a tarsd.toml into one that names the key, what was found and what is allowed.

Rules
1. The allowed values come from the schema's types, so no text here can disagree with what is enforced.
2. An unknown key is answered with the nearest known one, and all of its table.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

import msgspec
from msgspec import inspect

_PATH = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def explain(message: str, table: dict[str, Any], schema: type[msgspec.Struct]) -> str:
    """Return msgspec's "Expected … - at `$.a.b`" as "a.b = found: allowed is …"."""
    where = _PATH.search(message)
    steps = [(name, int(index) if index else None) for name, index in _STEP.findall(where[1] if where else "")]
    found: Any = table
    kind: inspect.Type | None = inspect.type_info(schema)
    path = ""
    for name, index in steps:
        path += f"[{index}]" if index is not None else f"{'.' if path else ''}{name}"
        found, kind = _step(found, name, index), _inside(kind, name, index)
    if unknown := _UNKNOWN.search(message):
        return _unknown_key(path, unknown[1], kind)
    if missing := _MISSING.search(message):
        return f"{_join(path, missing[1])} is missing: allowed is {allowed(_inside(kind, missing[1], None))}"
    return f"{path} = {found!r}: allowed is {allowed(kind)}"


def allowed(kind: inspect.Type | None) -> str:
    """Return in words what a value of this type may be."""
    match kind:
        case inspect.Metadata(extra_json_schema={"description": str(words)}):
            return words
        case inspect.Metadata(type=inner):
            return allowed(inner)
        case inspect.LiteralType(values=values):
            return _one_of(values)
        case inspect.EnumType(cls=enum):
            return _one_of([member.value for member in enum])
        case inspect.IntType(ge=low, le=high):
            return "a whole number" + _bounds(low, high)
        case inspect.FloatType(ge=low, le=high):
            return "a number" + _bounds(low, high)
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "text in quotes"
        case inspect.CustomType():
            return "a path in quotes"
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"a list [...], each of it {allowed(item)}"
        case inspect.UnionType(types=types):
            return ", or ".join(allowed(each) for each in types if not isinstance(each, inspect.NoneType))
        case inspect.StructType(fields=fields):
            return "a table with " + ", ".join(field.encode_name for field in fields)
        case _:
            return "something else"


def _one_of(values: list[Any] | tuple[Any, ...]) -> str:
    return repr(values[0]) if len(values) == 1 else "one of " + ", ".join(map(repr, values))


def _bounds(low: float | None, high: float | None) -> str:
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f" of at least {low:g}"
        case None, _:
            return f" of at most {high:g}"
        case _:
            return f" from {low} to {high}"


def _unknown_key(path: str, key: str, kind: inspect.Type | None) -> str:
    known = [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{_join(path, key)}: there is no such key. {hint}Allowed are {', '.join(known)}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _inside(kind: inspect.Type | None, name: str, index: int | None) -> inspect.Type | None:
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    if index is not None:
        return getattr(kind, "item_type", None)
    fields = kind.fields if isinstance(kind, inspect.StructType) else ()
    return next((field.type for field in fields if field.encode_name == name), None)


def _step(found: Any, name: str, index: int | None) -> Any:
    try:
        return found[name if index is None else index]
    except (KeyError, IndexError, TypeError):
        return found
