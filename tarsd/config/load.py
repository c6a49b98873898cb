"""Reads a tarsd.toml; a wrong one is refused with the file, the key, what was found and what is allowed.

Rules
1. Unknown keys, wrong types and values out of bounds are refused (msgspec).
2. What only holds between keys is checked here.
3. No file at all means the defaults, unless a path was named.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tarsd.config.explain import explain
from tarsd.config.schema import Config
from tarsd.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/tarsd.toml")


def find_config(named: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the config file to read: the named one, `TARSD_CONFIG`, else /etc/tarsd.toml where it exists."""
    if named or environ.get("TARSD_CONFIG"):
        return Path(named or environ["TARSD_CONFIG"])
    return SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else None


def load_config(path: Path | None) -> Config:
    """Return the config in `path` with the node's name filled in; raises `ConfigError`."""
    if path is None:
        return _complete(Config())
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        config = msgspec.convert(table, Config, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {explain(str(error), table, Config)}") from error
    _check_between_keys(path, config)
    return _complete(config)


def _check_between_keys(path: Path, config: Config) -> None:
    api, documents, network = config.api, config.documents, config.network
    if bool(api.tls_cert) != bool(api.tls_key):
        there, lacking = ("tls_cert", "tls_key") if api.tls_cert else ("tls_key", "tls_cert")
        raise ConfigError(f"{path}: api.{lacking} is missing: it belongs to api.{there}")
    if not _is_loopback(api.listen) and not (api.tls_cert and api.tls_key):
        raise ConfigError(
            f"{path}: api.listen = {api.listen!r}: an address that is not loopback needs api.tls_cert and api.tls_key"
        )
    if documents.passage_overlap_words >= documents.passage_words:
        raise ConfigError(
            f"{path}: documents.passage_overlap_words = {documents.passage_overlap_words}: "
            f"must be below documents.passage_words = {documents.passage_words}"
        )
    if network.beat_s * 2 > network.silence_s:
        raise ConfigError(
            f"{path}: network.silence_s = {network.silence_s}: must be at least twice network.beat_s = {network.beat_s}"
        )
    if not network.listen:
        raise ConfigError(f"{path}: network.listen = []: allowed is at least one address")
    for key in ("listen", "mdns_interfaces"):
        for index, address in enumerate(getattr(network, key)):
            if not _is_address(address):
                raise ConfigError(f"{path}: network.{key}[{index}] = {address!r}: allowed is an IP address of this PC")
    for index, seed in enumerate(network.seeds):
        host, _, port = seed.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f'{path}: network.seeds[{index}] = {seed!r}: allowed is "host:port"')
    names = [model.name for model in config.models.catalog]
    for index, model in enumerate(config.models.catalog):
        where = f"{path}: models.catalog[{index}]"
        if model.name in names[:index]:
            raise ConfigError(f"{where}.name = {model.name!r}: there is one of that name already")
        if model.name == "tars":
            raise ConfigError(f"{where}.name = 'tars': that is the whole assistant's")
        if model.source.startswith("hf:") and not re.fullmatch(r"hf:[\w.-]+/[\w.-]+/[\w./-]+\.gguf", model.source):
            raise ConfigError(f'{where}.source = {model.source!r}: allowed is "hf:owner/repository/file.gguf"')
    for index, engine in enumerate(config.cognitive.engines):
        if engine.kind == "openai" and not engine.url:
            raise ConfigError(f"{path}: cognitive.engines[{index}].url: the openai engine needs the server's URL")
        if engine.url and not _is_web_address(engine.url):
            raise ConfigError(f'{path}: cognitive.engines[{index}].url = {engine.url!r}: allowed is "http://host:port"')
    if config.models.hub and not _is_web_address(config.models.hub):
        raise ConfigError(f'{path}: models.hub = {config.models.hub!r}: allowed is "https://host", or "" for none')


def _is_web_address(text: str) -> bool:
    return bool(re.fullmatch(r"https?://[^\s/]+(?:/\S*)?", text))


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback if _is_address(address) else address == "localhost"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _complete(config: Config) -> Config:
    name = config.node.name or _host_name()
    node = msgspec.structs.replace(config.node, name=name)
    return msgspec.structs.replace(config, node=node)


def _host_name() -> str:
    letters = "".join(c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname().split(".")[0].lower())
    return letters.strip("-")[:32].strip("-") or "pc"


def _decode_path(wanted: type, found: Any) -> Any:
    """msgspec knows no Path: take a string for it."""
    if wanted is Path and isinstance(found, str):
        return Path(found).expanduser()
    raise ValueError(f"Expected `str` (a path), got `{type(found).__name__}`")
