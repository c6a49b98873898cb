"""Secrets in files, free ports."""

import stat
from pathlib import Path

import pytest

from tarsd.errors import StorageError
from tarsd.surroundings import file_secret, free_port


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    secret = file_secret(tmp_path / "admin.token")
    assert len(secret) > 30
    assert file_secret(tmp_path / "admin.token") == secret
    assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("")
    assert file_secret(tmp_path / "admin.token")


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        file_secret(tmp_path / "missing" / "admin.token")


def test_a_free_port_can_be_listened_on() -> None:
    assert 1024 < free_port("127.0.0.1") < 65536
