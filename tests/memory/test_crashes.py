"""Crashes of a real store, in short; `python -m bench memory --only crashes` does it at length."""

from __future__ import annotations

from pathlib import Path
from random import Random

from bench.crashes.images import SECTOR_BYTES, Disk
from bench.crashes.kills import kills
from bench.crashes.promises import Account, judge, text_of
from bench.crashes.simulated import simulate

SEED = 20_261


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    tally = kills(tmp_path, 20, SEED)
    assert tally.broken == []
    assert tally.crashes == 20
    assert tally.acknowledged > 100
    assert tally.forgotten > 5


def test_two_hundred_simulated_power_failures_lose_nothing(tmp_path: Path) -> None:
    tally = simulate(tmp_path, 200, SEED)
    assert tally.broken == []
    assert tally.crashes == 200
    assert tally.acknowledged > 1000
    assert tally.forgotten > 5


def test_a_disk_that_lies_about_syncing_is_seen_to_lose(tmp_path: Path) -> None:
    tally = simulate(tmp_path, 40, SEED, disk_lies=True)
    assert tally.lost


# --- the model ------------------------------------------------------------------------------------------------------


def images(disk: Disk, count: int = 200) -> list[dict[str, bytes]]:
    return [disk.crashed(Random(seed)) for seed in range(count)]


def test_what_was_synced_is_always_there() -> None:
    disk = Disk({"db": b"a" * 2048})
    disk.take(("write", "db", 512, b"b" * 512))
    disk.take(("sync", "db", False))
    disk.take(("write", "db", 1024, b"c" * 1024))
    assert {image["db"][:1024] for image in images(disk)} == {b"a" * 512 + b"b" * 512}


def test_what_was_not_synced_is_there_or_not_sector_by_sector_in_any_order() -> None:
    disk = Disk({"db": bytes(4 * SECTOR_BYTES)})
    disk.take(("write", "db", 0, b"a" * 2 * SECTOR_BYTES))
    disk.take(("write", "db", 2 * SECTOR_BYTES, b"b" * 2 * SECTOR_BYTES))
    firsts = {bytes(image["db"][number * SECTOR_BYTES] for number in range(4)) for image in images(disk)}
    calm = {each for each in firsts if set(each) <= set(b"\0ab")}
    assert {b"\0\0\0\0", b"aabb", b"\0\0bb", b"a\0bb", b"aa\0b"} <= calm
    assert firsts - calm  # noise


def test_a_truncation_that_was_not_synced_has_happened_or_not() -> None:
    disk = Disk({"wal": b"a" * 1024})
    disk.take(("truncate", "wal", 0))
    assert {len(image["wal"]) for image in images(disk)} == {0, 1024}


def test_a_new_file_may_be_missing_until_its_folder_is_synced() -> None:
    disk = Disk({})
    disk.take(("create", "wal"))
    assert {"wal" in image for image in images(disk)} == {True, False}
    disk.take(("sync", "wal", True))
    assert {"wal" in image for image in images(disk)} == {True}
    disk.take(("delete", "wal", False))
    assert {"wal" in image for image in images(disk)} == {True, False}


def test_each_broken_promise_is_seen() -> None:
    account = Account()
    account.heard(("will", 1, ["a", "b"]))
    account.heard(("did", 1, []))
    account.heard(("will", 2, ["c", "d"]))
    account.heard(("forgetting", 0, ["b"]))
    account.heard(("forgot", 0, ["b"]))
    whole = {name: text_of(name) for name in ("a", "c", "d")}
    assert judge(whole, account).broken == []
    assert judge({"a": text_of("a")}, account).broken == []
    assert judge({}, account).lost == ["a"]
    assert judge(whole | {"a": "torn"}, account).broken == ["lost: a", "appeared: a"]
    assert judge(whole | {"x": text_of("x")}, account).appeared == ["x"]
    assert judge({"a": text_of("a"), "c": text_of("c")}, account).appeared == ["half of a write: 1 of 2"]
    assert judge(whole | {"b": text_of("b")}, account).returned == ["b"]


def test_what_a_crash_left_open_is_settled_by_what_is_there() -> None:
    account = Account()
    account.heard(("will", 1, ["a", "b"]))
    account.heard(("did", 1, []))
    account.heard(("will", 2, ["c"]))
    account.heard(("forgetting", 0, ["b"]))
    account.settle(["a"])
    assert (account.acknowledged, account.forgotten) == ({"a"}, {"b"})
    assert judge({"a": text_of("a"), "c": text_of("c")}, account).appeared == ["c"]
