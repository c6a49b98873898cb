"""Pure: a JSON schema made ready for llama.cpp's converter, which trusts what it is given.

Rules
1. A schema is bounded: in bytes, in depth, and in counts. The converter writes a counted thing out so many times, so
   `minItems` and `minLength` above `MOST_COUNTED` are refused, and the upper bounds above it are left out.
2. What a grammar cannot hold, and would silently give other shapes, is refused by name (`UNHELD`). Bounds of values
   (`minimum`, `multipleOf`, `uniqueItems`, unknown formats) are not held: they narrow values, the shape stays.
3. References lead within the schema. Each gets a name of its own: the converter knows a target by the last part of its
   path only, and takes a property called the same for it.
4. For each optional property the converter walks over all that follow it: their number is bounded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tarsd.errors import InvalidInput

SCHEMA_BYTES = 64 * 1024
DEPTH = 64
MOST_COUNTED = 256
MOST_OPTIONAL = 256  # in one object, or as much work in several: a third of a second
UNHELD = (
    "not", "if", "then", "else", "patternProperties", "dependentSchemas", "dependentRequired", "contains",
    "propertyNames", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
)  # fmt: skip
_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions")
_LITERALS = ("const", "enum", "default", "examples", "example", "required", "title", "description", "$comment")
_OF_A_COUNT = frozenset("0123456789, \t\r\n")


class Part(NamedTuple):
    """A schema that goes into a larger one; the larger one's `$defs` must hold its `targets`."""

    schema: dict[str, Any]
    targets: dict[str, Any]


def prepared(text: str, field: str) -> dict[str, Any]:
    """Return the schema in `text` as the converter may have it; raises `InvalidInput` naming `field`."""
    part = prepared_part(text, field)
    if not part.targets:
        return part.schema
    # Beside a reference the converter looks at nothing else.
    schema = {"anyOf": [part.schema]} if "$ref" in part.schema else part.schema
    return schema | {"$defs": part.targets}


def prepared_part(text: str, field: str, prefix: str = "ref") -> Part:
    """Return the same in two pieces; `prefix` keeps the names of its targets apart from those of other parts."""
    if len(text.encode()) > SCHEMA_BYTES:
        raise InvalidInput(f"{field}: a schema of {len(text.encode())} bytes, at most {SCHEMA_BYTES} are taken")
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"{field}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{field}: expected a JSON schema that is an object")
    if deeper_than(value, DEPTH):
        raise InvalidInput(f"{field}: a schema nested over {DEPTH} deep is not taken")
    preparing = _Preparing(value, field, prefix)
    return Part(preparing.clean(value), preparing.targets)


def check_optional(schema: dict[str, Any], field: str) -> None:
    """Raise `InvalidInput` for a schema with too many optional properties (rule 4)."""
    work, open_ = 0, list[object]([schema])
    while open_:
        one = open_.pop()
        open_ += _inside(one)
        properties = one.get("properties") if isinstance(one, dict) else None
        if isinstance(one, dict) and isinstance(properties, dict):
            required = one.get("required")
            named = (
                sum(name in properties for name in required if isinstance(name, str))
                if isinstance(required, list)
                else 0
            )
            work += max(0, len(properties) - named) ** 2
    if work > MOST_OPTIONAL**2:
        raise InvalidInput(f"{field}: over {MOST_OPTIONAL} optional properties cannot be held: name some in 'required'")


def deeper_than(value: object, depth: int) -> bool:
    """Tell whether lists and objects are nested deeper; without recursion, since the depth is foreign."""
    layer = [value]
    for _ in range(depth):
        layer = [inner for one in layer for inner in _inside(one)]
        if not layer:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


class _Preparing:
    """One schema; `targets` fills with what it refers to."""

    def __init__(self, schema: dict[str, Any], field: str, prefix: str) -> None:
        self._schema = schema
        self._field = field
        self._prefix = prefix
        self._names: dict[str, str] = {}
        self.targets: dict[str, Any] = {}

    def clean(self, schema: Any) -> dict[str, Any]:
        """Return a schema without what the converter does not need (rules 1 and 2)."""
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise InvalidInput(f"{self._field}: {schema!r} where a schema was expected")
        for word in UNHELD:
            if word in schema:
                raise InvalidInput(f"{self._field}: {word!r} cannot be held by a grammar")
        if "$ref" in schema:
            return {"$ref": self._moved(schema["$ref"])}
        self._bound(schema)
        return {word: self._part(word, value) for word, value in schema.items() if self._is_kept(word, value)}

    def _part(self, word: str, value: Any) -> Any:
        if word in _SCHEMAS_BY_NAME and isinstance(value, dict):
            return {name: self.clean(inner) for name, inner in value.items()}
        if word in ("anyOf", "oneOf", "allOf", "prefixItems") or (word == "items" and isinstance(value, list)):
            if not isinstance(value, list) or not value:
                raise InvalidInput(f"{self._field}: {word!r} must be a list of schemas")
            return [self.clean(inner) for inner in value]
        if word in ("items", "additionalProperties") and isinstance(value, dict):
            return self.clean(value)
        return value

    @staticmethod
    def _is_kept(word: str, value: Any) -> bool:
        if word in ("$defs", "definitions", "$schema", "$id"):
            return False  # what is referred to is in `targets`
        if word in ("maxItems", "maxLength") and value > MOST_COUNTED:
            return False
        return word in ("const", "enum", "required") or word not in _LITERALS

    def _bound(self, schema: dict[str, Any]) -> None:
        for word in ("minItems", "minLength", "maxItems", "maxLength"):
            value = schema.get(word, 0)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InvalidInput(f"{self._field}: {word!r} must be a whole number")
            if word.startswith("min") and value > MOST_COUNTED:
                raise InvalidInput(f"{self._field}: {word!r} over {MOST_COUNTED} cannot be held")
        pattern = schema.get("pattern", "")
        if not isinstance(pattern, str):
            raise InvalidInput(f"{self._field}: 'pattern' must be a text")
        for number in _counts(pattern):
            if len(number) > 9 or int(number) > MOST_COUNTED:
                raise InvalidInput(f"{self._field}: 'pattern' repeats something over {MOST_COUNTED} times")

    def _moved(self, reference: Any) -> str:
        """Return the new name of a reference's target (rule 3)."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise InvalidInput(f"{self._field}: '$ref' must lead within the schema (\"#/…\"), not to {reference!r}")
        if reference not in self._names:
            name = self._names[reference] = f"{self._prefix}-{len(self._names)}"
            self.targets[name] = {}  # taken, for what refers to itself
            self.targets[name] = self.clean(self._found(reference))
        return f"#/$defs/{self._names[reference]}"

    def _found(self, reference: str) -> Any:
        found: Any = self._schema
        for part in reference.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")  # RFC 6901
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise InvalidInput(f"{self._field}: '$ref' {reference!r} leads nowhere") from None
        return found


def _counts(pattern: str) -> Iterator[str]:
    """Yield the numbers in the braces of a pattern; by splitting, since a regular expression could be made to hang."""
    for piece in pattern.split("{")[1:]:
        inner = piece.partition("}")[0]
        if _OF_A_COUNT.issuperset(inner):
            yield from inner.replace(",", " ").split()
