"""etc/tarsd.toml is the manual of the settings: it must name every key, and tell the truth about each default."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from tarsd.config import CatalogModel, Config, load_config

EXAMPLE = Path(__file__).resolve().parents[2] / "etc" / "tarsd.toml"
KEY = re.compile(r"#(?P<key>[a-z0-9_]+) = (?P<value>.+)")


# a name has no default: the example's own
CATALOG_MODEL = msgspec.to_builtins(CatalogModel(name="qwen3-8b"))
NO_DEFAULT = {"models.catalog.name"}


def default_table():
    return msgspec.json.decode(msgspec.json.encode(Config(), enc_hook=str))


def defaults():
    """Every key of the schema as ("table.key", default); the engines' by the one engine of the default list."""
    for table, values in default_table().items():
        for key, value in values.items():
            if key == "engines":
                yield from ((f"cognitive.engines.{name}", each) for name, each in value[0].items())
            elif key == "catalog":
                yield from ((f"models.catalog.{name}", each) for name, each in CATALOG_MODEL.items())
            else:
                yield f"{table}.{key}", value


def documented():
    """Each key that the example shows, with its value and the comment above it."""
    found, table, comment = {}, "", []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"#?\[\[?([a-z_.]+)\]\]?", line):
            table, comment = header[1], []
        elif shown := KEY.fullmatch(line):
            value = tomllib.loads(f"value = {shown['value']}")["value"]
            found[f"{table}.{shown['key']}"] = (value, " ".join(comment))
            comment = []
        elif line.startswith("# "):
            comment.append(line[2:])
    return found


def test_the_example_shows_every_key_and_no_other():
    assert set(documented()) == {key for key, _ in defaults()}


@pytest.mark.parametrize(("key", "default"), list(defaults()), ids=[key for key, _ in defaults()])
def test_each_key_tells_its_default_truly(key, default):
    value, comment = documented()[key]
    if key in NO_DEFAULT:
        assert value == default
        return
    told = re.search(r"Default: (.+)$", comment)
    assert told, f"{key} does not tell its default"
    if default is None:
        assert told[1] == "none"
    else:
        assert value == default
        assert tomllib.loads(f"value = {told[1]}")["value"] == default


def test_the_example_as_it_is_shipped_changes_nothing():
    assert load_config(EXAMPLE) == load_config(None)


def test_the_example_with_every_line_active_is_valid(tmp_path):
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    active = [line[1:] if re.match(r"#([a-z0-9_]+ = |\[\[)", line) else line for line in lines]
    path = tmp_path / "tarsd.toml"
    path.write_text("\n".join(active), encoding="utf-8")
    config = load_config(path)
    assert config.documents == Config().documents
    assert config.cognitive.engines[0].kind == "llama_cpp"
