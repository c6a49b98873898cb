"""`tarsd backup` and `tarsd restore` as a person and as a program meet them."""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path
from string import Formatter

import pytest

from tarsd.cli.backup_words import ENGLISH, SPANISH
from tarsd.cli.main import main
from tarsd.errors import InvalidInput
from tarsd.identity import init_cluster
from tarsd.memory import backup
from tarsd.memory.backup_file import FOLDER
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.store import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's folder with a record, and a backup of it made before that."""
    data = tmp_path / "data"
    identity = init_cluster(data, "pc1", "home")
    config = tmp_path / "tarsd.toml"
    config.write_text(f'[node]\nname = "pc1"\ndata_dir = "{data}"\n')
    monkeypatch.setenv("TARSD_CONFIG", str(config))

    async def fill() -> None:
        store = await Store.open(data / "memory.db", identity.node_id)
        await store.append("memory", "", MemoryBody("a", "the first"))
        await backup.make(store, data / FOLDER, identity.node_id, "pc1")
        await store.append("memory", "", MemoryBody("b", "the second"))
        await store.close()

    asyncio.run(fill())
    return data


def only_backup(home: Path) -> str:
    (name,) = os.listdir(home / FOLDER)
    return str(home / FOLDER / name)


def test_backups_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / FOLDER / "torn.tarsd-backup").write_bytes(b"torn")
    assert main(["backup", "list"]) == 0
    shown = capsys.readouterr().out
    assert "pc1" in shown
    assert "torn.tarsd-backup is not a whole backup" in shown
    assert main(["backup", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["backups"]
    assert [each["manifest"] and each["manifest"]["counts"]["records"] for each in listed] == [1, None]


def test_a_restore_is_asked_for_and_sets_the_present_aside(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert main(["restore", only_backup(home), "--lang", "en"]) == 1
    assert ENGLISH.not_done in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("sí\n"))
    assert main(["restore", only_backup(home), "--lang", "es"]) == 0
    shown = capsys.readouterr().out
    assert SPANISH.next in shown
    (aside,) = home.glob("memory.db.before-restore-*")
    assert str(aside) in shown


def test_a_wrong_file_is_told_and_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (home / "memory.db").read_bytes()
    assert main(["restore", "--yes", str(home / "memory.db")]) == 1
    assert "is not a whole backup of tarsd" in capsys.readouterr().err
    assert (home / "memory.db").read_bytes() == before


def test_a_copy_is_whole_and_private(home: Path, tmp_path: Path) -> None:
    from tarsd.cli.backup import _copy

    source = Path(only_backup(home))
    copy = _copy(source, tmp_path, ENGLISH)
    assert copy == tmp_path / source.name
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(InvalidInput, match="this PC only"):
        _copy(tmp_path / "elsewhere", tmp_path, ENGLISH)


def test_a_folder_that_is_not_there_is_told_before_a_backup_is_made(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", "--to", "/nowhere/at/all"]) == 1  # no node answers here, so it was not even asked
    assert "--to: there is no folder /nowhere/at; nothing was done" in capsys.readouterr().err


def test_both_languages_say_the_same_things() -> None:
    for name, english in ENGLISH._asdict().items():
        spanish = getattr(SPANISH, name)
        assert type(spanish) is type(english)
        if isinstance(english, str):
            fields = [{field for _, field, *_ in Formatter().parse(text) if field} for text in (english, spanish)]
            assert fields[0] == fields[1]
        else:
            assert len(spanish) == len(english)
