"""The file of named tokens: whole or closed, hashes only, seen when it changes."""

from __future__ import annotations

import os
import stat
import threading

import msgspec
import pytest

from tarsd.api import tokens
from tarsd.api.rates import Rate
from tarsd.api.scopes import Scope
from tarsd.api.token_book import TokenBook
from tarsd.errors import InvalidInput, NotFound, StorageError

NOW = 1_800_000_000.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / tokens.FILE


def made(path, name="editor", *scopes, **limits):
    shown, token = tokens.minted(name, scopes or [Scope.CHAT], NOW, **limits)
    tokens.add(path, token)
    return shown, token


def test_a_token_has_its_form_and_only_hashes_of_it_are_kept(path):
    shown, token = made(path)
    assert shown.startswith(f"tars_{token.id}_")
    kept = path.read_text()
    assert shown.rsplit("_", 1)[1] not in kept
    assert tokens.session_key(shown) not in kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_written_is_read(path):
    _, token = made(path, "a", Scope.CHAT, Scope.STATUS, requests=Rate(60, 60.0), valid_s=90.0)
    _, other = made(path, "b")
    assert tokens.read(path) == [token, other]
    assert token.expires_at == NOW + 90
    assert token.has_expired(NOW + 90)
    assert not token.has_expired(NOW + 89)
    assert not other.has_expired(NOW * 10)


def test_a_name_is_given_once(path):
    made(path)
    with pytest.raises(InvalidInput, match="there is a token 'editor' already"):
        made(path)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "a/b", "ñ", "a\n"])
def test_a_name_is_plain(name):
    with pytest.raises(InvalidInput, match="name: "):
        tokens.minted(name, [Scope.CHAT], NOW)


def test_a_token_is_removed_by_its_name_and_the_others_stay(path):
    made(path, "a")
    _, stays = made(path, "b")
    assert tokens.remove(path, "a").name == "a"
    assert tokens.read(path) == [stays]
    with pytest.raises(NotFound, match="there is no token 'a'; there is b"):
        tokens.remove(path, "a")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"version": 2, "tokens": []}', b'{"tokens": []}'])
def test_a_file_that_cannot_be_read_is_neither_empty_nor_written_over(path, content):
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"tokens\.json"):
        tokens.read(path)
    with pytest.raises(StorageError):
        made(path)
    assert path.read_bytes() == content


def test_a_writer_that_cannot_write_leaves_what_there_was(path, monkeypatch):
    made(path, "a")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        made(path, "b")
    assert path.read_bytes() == before


def test_commands_at_once_lose_no_token(path):
    threads = [threading.Thread(target=made, args=(path, f"t{number}")) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {token.name for token in tokens.read(path)} == {f"t{number}" for number in range(12)}


def failing(_):
    raise StorageError("tokens.json: cannot be read: Input/output error")


class TestTheBook:
    def test_finds_a_token_by_its_secret_and_by_the_key_of_its_session(self, path):
        shown, token = made(path)
        book = TokenBook(path)
        assert book.find(shown, 0.0) == token
        assert book.find(tokens.session_key(shown), 0.0) == token
        assert book.find(shown[:-1], 0.0) is None
        assert book.find(token.digest, 0.0) is None

    def test_sees_a_change_after_a_second_and_looks_no_more_often(self, path):
        book = TokenBook(path)
        book.look(0.0)
        shown, token = made(path)
        assert book.find(shown, 0.9) is None
        assert book.find(shown, 1.0) == token
        tokens.remove(path, "editor")
        assert book.still(token, 1.9) == token
        assert book.find(shown, 2.0) is None
        assert book.still(token, 2.0) is None

    def test_a_broken_file_closes_the_door_and_a_repaired_one_opens_it(self, path, caplog):
        shown, token = made(path)
        good = path.read_bytes()
        book = TokenBook(path)
        assert book.find(shown, 0.0) == token
        path.write_bytes(good[:-20])
        assert [book.find(shown, float(second)) for second in (1, 2, 3)] == [None] * 3
        assert "tokens.json" in book.problem
        assert len(caplog.records) == 1  # told once, however long it lasts
        path.write_bytes(good)
        assert book.find(shown, 4.0) == token
        assert book.problem == ""

    def test_what_was_used_is_kept_when_another_token_comes(self, path):
        _, token = made(path, requests=Rate(1, 60.0))
        book = TokenBook(path)
        book.look(0.0)
        book.allowance(token, 0.0).admit(0.0)
        made(path, "other")
        book.look(1.0)
        assert book.allowance(token, 1.0).headers(1.0)["x-ratelimit-remaining-requests"] == "0"

    def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(self, path, monkeypatch):
        shown, token = made(path)
        book = TokenBook(path)
        with monkeypatch.context() as broken:
            broken.setattr(tokens, "read", failing)
            assert book.find(shown, 0.0) is None
        assert book.find(shown, 1.0) == token

    def test_another_rate_under_the_same_token_counts_at_once(self, path):
        _, token = made(path, requests=Rate(1, 60.0))
        book = TokenBook(path)
        book.allowance(token, 0.0)
        wider = msgspec.structs.replace(token, requests=Rate(5, 60.0))
        assert book.allowance(wider, 0.0).headers(0.0)["x-ratelimit-limit-requests"] == "5"

    def test_no_file_is_no_tokens_and_no_problem(self, path):
        book = TokenBook(path)
        assert book.find("tars_x", 0.0) is None
        assert book.problem == ""


def test_a_file_from_before_persons_is_read_and_one_without_persons_is_read_by_older_versions(path):
    _, token = tokens.minted("editor", [Scope.CHAT], 100.0)
    tokens.add(path, token)
    assert b"person" not in path.read_bytes()
    assert tokens.read(path)[0].person == ""


def test_the_person_of_a_token_is_kept_in_one_form(path):
    tokens.add(path, tokens.minted("phone", [Scope.CHAT], 100.0, person="  Begon\u0303a  ")[1])
    assert tokens.read(path)[0].person == "bego\u00f1a"


@pytest.mark.parametrize("name", ["..", "-ana", "a/b", "ana\n\x00", "x" * 65, "_"])
def test_what_is_no_name_of_a_person_is_refused_by_its_field(name):
    with pytest.raises(InvalidInput, match=r"^person: "):
        tokens.minted("phone", [Scope.CHAT], 100.0, person=name)
