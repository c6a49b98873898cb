"""Which models a node knows, and that a file is checked before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tarsd.config import CatalogModel, Config, Models, Node
from tarsd.errors import InvalidInput, NotFound
from tarsd.models.shelf import Shelf
from tests.models.model_files import gguf_bytes, sha256

DATA = gguf_bytes(size=10_000)


def shelf(tmp_path: Path, *catalog: CatalogModel) -> Shelf:
    bundled = tmp_path / "bundled.gguf"
    bundled.write_bytes(DATA)
    return Shelf(Config(node=Node(data_dir=tmp_path), models=Models(catalog=catalog)), bundled)


def test_the_bundled_one_the_catalog_and_the_store_are_known(tmp_path: Path) -> None:
    known = shelf(tmp_path, CatalogModel(name="far", source="hf:a/b/far.gguf"), CatalogModel(name="peers"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pulled.gguf").write_bytes(DATA)
    found = {entry.name: (entry.path is not None, entry.is_ours) for entry in known.entries()}
    assert found == {
        "bundled": (True, False),
        "far": (False, True),
        "peers": (False, True),
        "pulled": (True, True),
    }
    assert known.entry("nobody") is None
    assert known.entry("../etc/passwd") is None


def test_a_file_on_this_pc_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(DATA)
    entry = shelf(tmp_path, CatalogModel(name="mine", source=str(tmp_path / "mine.gguf"))).entry("mine")
    assert entry is not None
    assert (entry.path, entry.is_ours) == (tmp_path / "mine.gguf", False)


def test_a_file_of_the_store_with_another_hash_than_the_catalogs_is_moved_aside(tmp_path: Path) -> None:
    known = shelf(tmp_path, CatalogModel(name="far", source="hf:a/b/far.gguf", sha256="0" * 64))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "far.gguf").write_bytes(DATA)
    with pytest.raises(InvalidInput, match="moved aside"):
        known.verified("far")
    assert not (tmp_path / "models" / "far.gguf").exists()
    assert (tmp_path / "models" / "far.gguf.wrong").exists()


def test_a_file_of_yours_with_another_hash_is_refused_and_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(DATA)
    known = shelf(tmp_path, CatalogModel(name="mine", source=str(mine), sha256="0" * 64))
    with pytest.raises(InvalidInput, match="the catalog says 000"):
        known.verified("mine")
    assert mine.exists()
    right = shelf(tmp_path, CatalogModel(name="mine", source=str(mine), sha256=sha256(DATA)))
    assert right.verified("mine") == mine


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"hello")
    with pytest.raises(InvalidInput, match="no model"):
        shelf(tmp_path, CatalogModel(name="mine", source=str(tmp_path / "mine.gguf"))).verified("mine")


def test_an_absent_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        shelf(tmp_path, CatalogModel(name="peers")).verified("peers")
