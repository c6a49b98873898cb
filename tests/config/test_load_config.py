import subprocess
import sys
from pathlib import Path

import pytest

from tarsd.config import Config, find_config, load_config
from tarsd.errors import ConfigError


def refused(tmp_path, text):
    """The message with which `text` is refused, without the path, which every message begins with."""
    path = tmp_path / "tarsd.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[api]\nport = 99999", "api.port = 99999: allowed is a whole number from 0 to 65535"),
        ("[api]\nport = '80'", "api.port = '80': allowed is a whole number from 0 to 65535"),
        ("[network]\nmdns = 1", "network.mdns = 1: allowed is true or false"),
        ("[network]\nsilence_s = 60.0", "network.silence_s = 60.0: allowed is a number from 0.5 to 30"),
        ("[documents]\nmax_pages = 0", "documents.max_pages = 0: allowed is a whole number of at least 1"),
        ("[node]\ndata_dir = 3", "node.data_dir = 3: allowed is a path in quotes"),
        (
            "[node]\nroles = ['cognitive', 'chef']",
            "node.roles[1] = 'chef': allowed is one of 'cognitive', 'processing', 'orchestrator', 'monitoring'",
        ),
        (
            "[node]\nname = 'Mi PC'",
            "node.name = 'Mi PC': allowed is 1 to 32 small letters, digits and inner hyphens",
        ),
        (
            "[monitoring]\nnightly_at = '25:00'",
            "monitoring.nightly_at = '25:00': allowed is \"HH:MM\", from 00:00 to 23:59",
        ),
        ("node = 3", "node = 3: allowed is a table with name, roles, data_dir, log_level"),
        (
            "[[cognitive.engines]]\nkind = 'llama_cpp'\nthreads = 'all'",
            "cognitive.engines[0].threads = 'all': allowed is a whole number from 0 to 256",
        ),
        (
            "[[cognitive.engines]]\nmodel = 'x'",
            "cognitive.engines[0].kind is missing: allowed is one of 'llama_cpp', 'ollama', 'openai', 'transformers'",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(tmp_path, text, message):
    assert refused(tmp_path, text) == message


def test_an_unknown_key_is_told_with_the_nearest_and_all_others(tmp_path):
    assert refused(tmp_path, "[node]\nrole = []") == (
        "node.role: there is no such key. Did you mean roles? Allowed are name, roles, data_dir, log_level"
    )
    assert refused(tmp_path, "[colour]").startswith("colour: there is no such key. Allowed are node, network")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api]\nlisten = '0.0.0.0'", "api.listen = '0.0.0.0': an address that is not loopback needs api.tls_cert"),
        ("[api]\nlisten = 'tars.home'", "api.listen = 'tars.home': an address that is not loopback needs"),
        ("[api]\ntls_cert = '/c.pem'", "api.tls_key is missing: it belongs to api.tls_cert"),
        ("[api]\ntls_key = '/k.pem'", "api.tls_cert is missing: it belongs to api.tls_key"),
        ("[documents]\npassage_words = 20", "documents.passage_overlap_words = 20: must be below"),
        ("[network]\nsilence_s = 0.9", "network.silence_s = 0.9: must be at least twice network.beat_s = 0.5"),
        ("[network]\nseeds = ['pc1:7710', 'pc2']", "network.seeds[1] = 'pc2': allowed is \"host:port\""),
        ("[network]\nseeds = ['pc1:70000']", "network.seeds[0] = 'pc1:70000'"),
        ("[network]\nlisten = []", "network.listen = []: allowed is at least one address"),
        ("[network]\nlisten = ['eth0']", "network.listen[0] = 'eth0': allowed is an IP address of this PC"),
        ("[network]\nmdns_interfaces = ['eth0']", "network.mdns_interfaces[0] = 'eth0': allowed is an IP address"),
        ("[[cognitive.engines]]\nkind = 'openai'", "cognitive.engines[0].url: the openai engine needs"),
        (
            "[[cognitive.engines]]\nkind = 'openai'\nurl = 'pc1:8000'",
            "cognitive.engines[0].url = 'pc1:8000': allowed is",
        ),
        ("[[cognitive.engines]]\nkind = 'ollama'\nurl = 'ollama'", "cognitive.engines[0].url = 'ollama': allowed is"),
        ("[models]\nhub = 'ftp://models'", "models.hub = 'ftp://models': allowed is \"https://host\""),
        ("[node", "not valid TOML"),
    ],
)
def test_what_only_holds_between_keys_is_checked_too(tmp_path, text, words):
    assert words in refused(tmp_path, text)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "tarsd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "tarsd.toml")


def test_no_file_means_the_defaults_with_the_hosts_name():
    config = load_config(None)
    assert config.node.name
    assert config.network == Config().network


def test_a_loopback_api_and_one_with_tls_are_taken(tmp_path):
    path = tmp_path / "tarsd.toml"
    for listen in ("127.0.0.1", "::1", "localhost"):
        path.write_text(f"[api]\nlisten = '{listen}'", encoding="utf-8")
        assert load_config(path).api.listen == listen
    path.write_text("[api]\nlisten = '0.0.0.0'\ntls_cert = '/c.pem'\ntls_key = '/k.pem'", encoding="utf-8")
    assert load_config(path).api.tls_key == Path("/k.pem")


def test_a_home_folder_may_be_written_with_a_tilde(tmp_path):
    path = tmp_path / "tarsd.toml"
    path.write_text("[node]\ndata_dir = '~/tars'", encoding="utf-8")
    assert load_config(path).node.data_dir == Path.home() / "tars"


def test_the_named_file_wins_over_the_environment():
    assert find_config("a.toml", {"TARSD_CONFIG": "b.toml"}) == Path("a.toml")
    assert find_config(None, {"TARSD_CONFIG": "b.toml"}) == Path("b.toml")


def test_a_wrong_config_ends_the_command_with_78(tmp_path):
    path = tmp_path / "tarsd.toml"
    path.write_text("[api]\nport = 99999", encoding="utf-8")
    command = [sys.executable, "-m", "tarsd", "--config", str(path), "run"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 78
    assert f"{path}: api.port = 99999: allowed is" in result.stderr
    assert "Traceback" not in result.stderr
