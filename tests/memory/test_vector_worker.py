"""The worker's class by itself, in this process."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarsd.errors import InvalidInput, StorageError
from tarsd.memory.vector_messages import AddRequest, NearestItem, NearestRequest, VectorSettings, VectorState
from tarsd.memory.vector_worker import VectorWorker
from tarsd.wire import decode, encode

DIMENSION = 4


def pack(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def axis(number: int) -> bytes:
    return pack(*(1.0 if place == number else 0.0 for place in range(DIMENSION)))


def run(items: Iterator[bytes]) -> list[bytes]:
    return [item for item in items if item]


class Index:
    """A worker with its messages unpacked."""

    def __init__(self, path: Path, model: str = "m", dimension: int = DIMENSION) -> None:
        self.worker = VectorWorker(encode(VectorSettings(str(path), model, dimension)))

    def add(self, ids: list[int], vectors: list[bytes]) -> None:
        run(self.worker.add(encode(AddRequest(ids, b"".join(vectors)))))

    def remove(self, ids: list[int]) -> None:
        run(self.worker.remove(encode(ids)))

    def nearest(self, vector: bytes, count: int = 10) -> list[tuple[int, float]]:
        (answer,) = run(self.worker.nearest(encode(NearestRequest(vector, count))))
        item = decode(answer, NearestItem)
        return list(zip(item.ids, item.scores, strict=True))

    def ids(self) -> list[int]:
        return sorted(number for piece in run(self.worker.ids(b"")) for number in decode(piece, list[int]))

    def state(self) -> VectorState:
        return decode(run(self.worker.state(b""))[0], VectorState)

    def save(self) -> None:
        run(self.worker.save(b""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors" / "m.vectors"


def test_the_nearest_come_first_with_their_cosines(path: Path) -> None:
    index = Index(path)
    index.add([10, 20, 30], [axis(0), axis(1), pack(0.6, 0.8, 0, 0)])
    assert index.nearest(axis(0), 2) == [(10, 1.0), (30, pytest.approx(0.6))]


def test_an_empty_index_finds_nothing(path: Path) -> None:
    assert Index(path).nearest(axis(0)) == []


def test_an_id_put_again_has_its_new_vector_only(path: Path) -> None:
    index = Index(path)
    index.add([1, 2], [axis(0), axis(1)])
    index.add([1], [axis(2)])
    assert index.nearest(axis(0), 1) != [(1, 1.0)]
    assert index.nearest(axis(2), 1) == [(1, 1.0)]
    assert index.ids() == [1, 2]


def test_what_is_removed_is_not_found(path: Path) -> None:
    index = Index(path)
    index.add([1, 2, 3], [axis(0), axis(1), axis(2)])
    index.remove([2, 99])
    assert index.ids() == [1, 3]
    assert [number for number, _ in index.nearest(axis(1))] != [2]


def test_any_history_equals_a_plain_table(path: Path) -> None:
    rng = random.Random(7)
    index, table = Index(path), dict[int, bytes]()
    for _ in range(200):
        if rng.random() < 0.6:
            ids = rng.sample(range(40), rng.randint(1, 5))
            vectors = [pack(*(rng.gauss(0, 1) for _ in range(DIMENSION))) for _ in ids]
            index.add(ids, vectors)
            table.update(zip(ids, vectors, strict=True))
        else:
            gone = rng.sample(range(40), 3)
            index.remove(gone)
            table = {key: value for key, value in table.items() if key not in gone}
    query = pack(1, 2, 3, 4)

    def score(data: bytes) -> float:
        return sum(a * b for a, b in zip((1, 2, 3, 4), struct.unpack("<4f", data), strict=True))

    expected = sorted(((score(data), key) for key, data in table.items()), reverse=True)
    assert [key for key, _ in index.nearest(query, 100)] == [key for _, key in expected]


def test_a_saved_index_is_read_again(path: Path) -> None:
    index = Index(path)
    index.add([1, 2], [axis(0), axis(1)])
    index.save()
    again = Index(path)
    assert again.ids() == [1, 2]
    assert again.state() == VectorState(2, "")
    again.remove([1])
    assert again.ids() == [2]
    assert [each.name for each in path.parent.iterdir()] == ["m.vectors"]


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "garbage", "no end"])
def test_a_damaged_file_is_not_used(path: Path, how: str) -> None:
    index = Index(path)
    index.add(list(range(100)), [axis(number % 4) for number in range(100)])
    index.save()
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            data = data[: len(data) // 2]
        case "bit":
            data[len(data) // 3] ^= 1
        case "empty":
            data = bytearray()
        case "garbage":
            data[:] = b"\xff" * len(data)
        case "no end":
            data = data[:-1]
    path.write_bytes(data)
    damaged = Index(path)
    assert damaged.ids() == []
    assert "was not used" in damaged.state().problem
    damaged.add([1], [axis(0)])
    damaged.save()
    assert damaged.state().problem == ""
    assert Index(path).ids() == [1]


@pytest.mark.parametrize(("model", "dimension"), [("other", DIMENSION), ("m", 3)])
def test_the_file_of_another_model_is_not_used(path: Path, model: str, dimension: int) -> None:
    index = Index(path)
    index.add([1], [axis(0)])
    index.save()
    assert Index(path, model, dimension).ids() == []


def test_a_save_never_touches_the_old_file_but_takes_its_place(path: Path) -> None:
    index = Index(path)
    index.add([1], [axis(0)])
    index.save()
    old = path.with_name("old")
    old.hardlink_to(path)
    before = old.read_bytes()
    index.add([2], [axis(1)])
    index.save()
    assert old.read_bytes() == before
    assert Index(path).ids() == [1, 2]


def test_a_save_that_fails_leaves_the_old_file(path: Path) -> None:
    index = Index(path)
    index.add([1], [axis(0)])
    index.save()
    index.add([2], [axis(1)])
    (path.parent / "m.vectors.new").mkdir()
    with pytest.raises(StorageError):
        index.save()
    assert Index(path).ids() == [1]


def test_vectors_of_another_dimension_are_refused(path: Path) -> None:
    index = Index(path)
    with pytest.raises(InvalidInput):
        index.add([1], [pack(1.0)])
    with pytest.raises(InvalidInput):
        index.nearest(pack(1.0))


def test_either_range_of_ids_is_searched_by_itself(path: Path) -> None:
    index = Index(path)
    index.add([1, 2, 1001], [axis(0), axis(1), pack(0.6, 0.8, 0, 0)])
    (answer,) = run(index.worker.nearest(encode(NearestRequest(axis(0), 3, 1000))))
    assert decode(answer, NearestItem).ids == [1001]
    (answer,) = run(index.worker.nearest(encode(NearestRequest(axis(0), 3, 0, 1000))))
    assert decode(answer, NearestItem).ids == [1, 2]


def test_why_a_file_is_refused_is_said(path: Path) -> None:
    index = Index(path)
    index.add([1], [axis(0)])
    index.save()
    assert "it is of the model m with dimension 4" in Index(path, "other").state().problem
    data = path.read_bytes()
    path.write_bytes(data[:-2] + b"9\n")  # of a version to come
    assert "damaged or unfinished" in Index(path).state().problem


def test_no_byte_of_a_removed_vector_stays_in_the_file(path: Path) -> None:
    rng = random.Random(3)
    canaries = {n: pack(*(rng.gauss(0, 1) for _ in range(DIMENSION))) for n in range(50)}
    index = Index(path)
    index.add(list(canaries), list(canaries.values()))
    index.save()
    gone = rng.sample(range(50), 20)
    index.remove(gone)
    index.save()
    data = path.read_bytes()
    assert [n for n, canary in canaries.items() if canary in data] == sorted(canaries.keys() - set(gone))
    assert [each.name for each in path.parent.iterdir()] == ["m.vectors"]
