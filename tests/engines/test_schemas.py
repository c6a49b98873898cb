from __future__ import annotations

import json
from typing import Any

import pytest

from tarsd.engines.schemas import MOST_OPTIONAL, check_optional, prepared
from tarsd.errors import InvalidInput


def ready(schema: Any) -> dict[str, Any]:
    return prepared(json.dumps(schema), "json_schema")


def test_what_only_describes_is_left_out_and_what_holds_stays() -> None:
    schema = {
        "title": "Person",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"title": {"type": "string", "description": "of a book", "maxLength": 20}},
        "required": ["title"],
        "additionalProperties": False,
    }
    assert ready(schema) == {
        "type": "object",
        "properties": {"title": {"type": "string", "maxLength": 20}},
        "required": ["title"],
        "additionalProperties": False,
    }


def test_each_target_gets_a_name_of_its_own() -> None:
    schema = {
        "properties": {"item": {"$ref": "#/$defs/item"}, "other": {"$ref": "#/properties/plain"}, "plain": {}},
        "$defs": {"item": {"properties": {"inner": {"$ref": "#/$defs/item"}}}},
    }
    assert ready(schema) == {
        "properties": {"item": {"$ref": "#/$defs/ref-0"}, "other": {"$ref": "#/$defs/ref-1"}, "plain": {}},
        "$defs": {"ref-0": {"properties": {"inner": {"$ref": "#/$defs/ref-0"}}}, "ref-1": {}},
    }


def test_upper_bounds_that_are_too_large_to_write_out_are_left_out() -> None:
    assert ready({"type": "string", "maxLength": 10**9}) == {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"not": {"type": "string"}}, "'not' cannot be held"),
        ({"properties": {"a": {"patternProperties": {}}}}, "'patternProperties' cannot be held"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 10**9}, "'minItems' over 256"),
        ({"type": "string", "minLength": "three"}, "'minLength' must be a whole number"),
        ({"type": "string", "pattern": "^a{5000}$"}, "'pattern' repeats something over 256 times"),
        ({"$ref": "https://example.org/schema"}, "must lead within the schema"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"anyOf": []}, "'anyOf' must be a list of schemas"),
        ({"items": {"properties": {"a": 3}}}, "3 where a schema was expected"),
        ([], "expected a JSON schema that is an object"),
        ({"description": "x" * 70_000}, "a schema of 70019 bytes"),
    ],
)
def test_what_cannot_be_held_is_refused_with_its_name(schema: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=r"^json_schema: ") as refused:
        ready(schema)
    assert reason in str(refused.value)


def test_depth_is_bounded_however_deep() -> None:
    for depth in (100, 50_000):
        text = '{"items":' * depth + "{}" + "}" * depth
        with pytest.raises(InvalidInput, match=r"^json_schema: "):
            prepared(text, "json_schema")


def test_what_is_no_json_says_so() -> None:
    with pytest.raises(InvalidInput, match="json_schema: not valid JSON"):
        prepared("{", "json_schema")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("pattern", ["^{" + " " * 20_000 + "$", "{" * 20_000, "a{" + "9" * 5000 + "}", "a{ 1, 99999 }"])
def test_a_pattern_that_would_occupy_or_overflow_its_reader_does_neither(pattern: str) -> None:
    schema = json.dumps({"type": "string", "pattern": pattern})
    if "9" in pattern:
        with pytest.raises(InvalidInput, match="repeats"):
            prepared(schema, "json_schema")
    else:
        assert prepared(schema, "json_schema")["pattern"] == pattern


def test_optional_properties_are_bounded_over_all_objects_of_a_schema() -> None:
    def with_optional(number: int, required: int = 0) -> dict[str, Any]:
        names = [f"p{at}" for at in range(number + required)]
        return {"properties": {name: {} for name in names}, "required": names[:required]}

    check_optional(with_optional(MOST_OPTIONAL), "json_schema")
    check_optional(with_optional(1, required=2000), "json_schema")
    check_optional({"anyOf": [with_optional(MOST_OPTIONAL // 2)] * 4}, "json_schema")
    for schema in (
        with_optional(MOST_OPTIONAL + 1),
        {"anyOf": [with_optional(MOST_OPTIONAL // 2)] * 5},
    ):
        with pytest.raises(InvalidInput, match=r"^json_schema: over 256 optional properties"):
            check_optional(schema, "json_schema")
