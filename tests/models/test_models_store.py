"""The store of model files: whole or not there, resumed, checked, within its disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tarsd.errors import InvalidInput, StorageError
from tarsd.models.store import FREE_BYTES, ModelStore, Promise
from tests.models.model_files import gguf_bytes, sha256

DATA = gguf_bytes(size=50_000)
PROMISE = Promise(sha256(DATA), len(DATA), "test")


def put(store: ModelStore, data: bytes, promise: Promise = PROMISE, name: str = "m") -> None:
    with store.open_part(name, promise) as part:
        part.write(data)


def test_a_model_is_there_only_once_it_is_whole_and_right(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    put(store, DATA[:20_000])
    assert store.names() == []
    with pytest.raises(InvalidInput, match="20000 bytes are here, 50000 were promised"):
        store.finish("m")
    put(store, DATA[20_000:])
    seen: list[int] = []
    path = store.finish("m", seen.append)
    assert store.names() == ["m"]
    assert path.read_bytes() == DATA
    assert seen[-1] == len(DATA)
    assert store.known_sha256(path) == PROMISE.sha256
    assert sorted(one.name for one in store.folder.iterdir()) == ["hashes.json", "m.gguf"]


def test_a_part_is_continued_after_a_restart(tmp_path: Path) -> None:
    with ModelStore(tmp_path).open_part("m", PROMISE) as part:
        part.write(DATA[:12_345])
    with ModelStore(tmp_path).open_part("m", PROMISE) as part:
        assert part.offset == 12_345
        part.write(DATA[part.offset :])
    assert ModelStore(tmp_path).finish("m").read_bytes() == DATA


@pytest.mark.parametrize("other", [Promise("0" * 64, len(DATA)), Promise(PROMISE.sha256, len(DATA) + 1)])
def test_a_part_of_another_file_is_begun_anew(tmp_path: Path, other: Promise) -> None:
    store = ModelStore(tmp_path)
    with store.open_part("m", other) as part:
        part.write(DATA[:12_345])
    with store.open_part("m", PROMISE) as part:
        assert part.offset == 0


def test_a_part_whose_promise_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with store.open_part("m", PROMISE) as part:
        part.write(DATA[:12_345])
    (tmp_path / "m.gguf.part.json").write_text("{half")
    with store.open_part("m", PROMISE) as part:
        assert part.offset == 0


def test_a_file_with_another_hash_is_refused_and_deleted(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    wrong = bytearray(DATA)
    wrong[-1] ^= 1
    put(store, bytes(wrong))
    with pytest.raises(InvalidInput, match=f"{PROMISE.sha256} was promised"):
        store.finish("m")
    assert store.names() == []
    assert store.part_of("m") == (None, 0)


def test_a_file_that_is_no_gguf_is_refused_though_its_hash_is_right(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    data = b"<html>Sign in to the hotel's network</html>"
    put(store, data, Promise(sha256(data), len(data)))
    with pytest.raises(InvalidInput, match=r"m\.gguf is no model for llama\.cpp: it does not begin as"):
        store.finish("m")
    assert store.part_of("m") == (None, 0)


def test_more_than_was_promised_is_not_taken(tmp_path: Path) -> None:
    with ModelStore(tmp_path).open_part("m", PROMISE) as part, pytest.raises(InvalidInput, match="more than"):
        part.write(DATA + b"x")


def test_nothing_is_begun_that_the_disk_cannot_hold(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, free_bytes=lambda folder: FREE_BYTES + len(DATA) - 1)
    with pytest.raises(StorageError, match=r"m needs 0 MiB more .* 256 MiB are free"):
        store.open_part("m", PROMISE)
    roomier = ModelStore(tmp_path, free_bytes=lambda folder: FREE_BYTES + len(DATA))
    roomier.open_part("m", PROMISE).close()


def test_what_is_here_already_needs_no_room(tmp_path: Path) -> None:
    put(ModelStore(tmp_path), DATA[:40_000])
    tight = ModelStore(tmp_path, free_bytes=lambda folder: FREE_BYTES + 10_000)
    tight.open_part("m", PROMISE).close()


def test_a_disk_that_fills_up_is_told_and_what_came_is_kept(tmp_path: Path) -> None:
    """/dev/full is the kernel's own full disk."""
    store = ModelStore(tmp_path)
    put(store, b"")
    (tmp_path / "m.gguf.part").unlink()
    (tmp_path / "m.gguf.part").symlink_to("/dev/full")
    with store.open_part("m", PROMISE) as part, pytest.raises(StorageError, match="the disk is full"):
        part.write(DATA)
    assert store.part_of("m")[0] == PROMISE


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(StorageError, match="models"):
        ModelStore(tmp_path / "models").open_part("m", PROMISE)


def test_a_hash_is_worked_out_once_and_anew_when_the_file_changes(tmp_path: Path) -> None:
    store, path = ModelStore(tmp_path / "store"), tmp_path / "x.gguf"
    path.write_bytes(DATA)
    assert store.known_sha256(path) == ""
    assert store.sha256_of(path) == PROMISE.sha256
    assert ModelStore(tmp_path / "store").known_sha256(path) == PROMISE.sha256
    os.utime(path, ns=(1, 1))
    assert store.known_sha256(path) == ""


def test_lost_notes_of_hashes_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "hashes.json").write_text('{"a": 3}')
    assert ModelStore(tmp_path).known_sha256(tmp_path) == ""
    assert (tmp_path / "hashes.json.broken").exists()
    assert "set aside" in caplog.text


def test_removing_frees_the_model_and_what_was_begun(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    put(store, DATA)
    store.finish("m")
    put(store, DATA[:10])
    assert store.remove("m") == len(DATA) + 10
    assert store.names() == []
    assert store.remove("m") == 0


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 65])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="name:"):
        ModelStore(tmp_path).path_of(name)
