from __future__ import annotations

from pathlib import Path

import pytest

from tarsd.errors import StorageError
from tarsd.gossip.member import Met
from tarsd.gossip.table import Table
from tarsd.names import NodeId, NodeName, Zone

PC2 = Met(NodeId("b" * 32), NodeName("pc2"), Zone.LAB, [("10.0.0.2", 7710), ("fe80::1", 7710)], 7)


def test_each_boot_has_a_higher_generation(tmp_path: Path) -> None:
    assert [Table(tmp_path / "gossip").next_generation() for _ in range(3)] == [1, 2, 3]


def test_a_generation_learned_from_peers_is_kept(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.next_generation()
    table.keep_generation(41)
    assert Table(tmp_path).next_generation() == 42


@pytest.mark.parametrize("content", [b"", b"x", b"\xff\xfe", b"-7", b"4294901760"])
def test_an_unreadable_generation_counts_as_lost(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "generation").write_bytes(content)
    assert Table(tmp_path).next_generation() == 1


def test_everybody_ever_met_is_read_back(tmp_path: Path) -> None:
    table = Table(tmp_path)
    assert table.read() == []
    table.write([PC2])
    assert Table(tmp_path).read() == [PC2]


@pytest.mark.parametrize("content", [b"", b"[{", b'["\xff"]', b"{}"])
def test_a_broken_table_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "peers.json").write_bytes(content)
    assert Table(tmp_path).read() == []
    assert (tmp_path / "peers.broken").exists()


def test_a_disk_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "peers.new").mkdir()
    with pytest.raises(StorageError, match=r"peers\.json"):
        Table(tmp_path).write([PC2])
