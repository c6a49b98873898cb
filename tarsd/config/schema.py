"""Every key of tarsd.toml: its meaning, unit, bounds and only default.

`etc/tarsd.toml` shows the same keys with their trade-offs; a test holds it against these defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tarsd.names import RoleName

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
NameText = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[node]: who this PC is and what it does."""

    name: NameText | Literal[""] = ""  # "" = the PC's host name
    roles: tuple[RoleName, ...] = ()  # a node without roles still takes questions and keeps records
    data_dir: Path = Path("/var/lib/tarsd")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[network]: how nodes reach one another."""

    listen: tuple[str, ...] = (
        "0.0.0.0",  # noqa: S104
        "::",
    )  # addresses for gossip (UDP) and calls (TCP); unavailable families are skipped
    port: Port = 7710  # one number for both; 0 = any free port
    join_port: Port = 7712  # open only while an invitation is; 0 = any free port
    seeds: tuple[str, ...] = ()  # "host:port" of other nodes, where multicast does not reach
    mdns: bool = True
    mdns_interfaces: tuple[str, ...] = ()  # addresses of the interfaces for mDNS; empty = those of `listen`, or all
    silence_s: Annotated[float, Meta(ge=0.5, le=30)] = 2.0  # a call without a frame for so long is taken elsewhere
    beat_s: Annotated[float, Meta(ge=0.1, le=5)] = 0.5


class Gossip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[gossip]: membership and failure detection."""

    probe_interval_s: Annotated[float, Meta(ge=0.1, le=10)] = 0.5
    mesh_up_to: Annotated[int, Meta(ge=2, le=64)] = 16
    indirect_probes: Annotated[int, Meta(ge=0, le=10)] = 3
    suspicion_min_s: Annotated[float, Meta(ge=0.5, le=60)] = 2.0
    reprobe_dead_s: Annotated[float, Meta(ge=0.5, le=600)] = 5.0


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[api]: what people and their programs talk to."""

    listen: str = "127.0.0.1"
    port: Port = 7711
    tls_cert: Path | None = None  # needed, with tls_key, for any address that is not loopback
    tls_key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()  # further Host names a browser may use, such as "tars.home"
    max_body_mib: Annotated[int, Meta(ge=1, le=4096)] = 200


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[cognitive.engines]]: one way to generate text; the first that works is used."""

    kind: Literal["llama_cpp", "ollama", "transformers", "openai"]
    model: str = (
        ""  # llama_cpp: path of a GGUF; transformers: a folder; else the server's model name. "" = the bundled model
    )
    url: str = ""  # of an Ollama or OpenAI-compatible server
    api_key_file: Path | None = None
    context_tokens: Annotated[int, Meta(ge=256, le=1_048_576)] = 8192
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0 = cores - 1
    gpu_layers: Annotated[int, Meta(ge=-1)] = 0  # -1 = all


class Cognitive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[cognitive]: the language model and the conversations."""

    engines: tuple[Engine, ...] = (Engine(kind="llama_cpp"),)
    queue: Annotated[int, Meta(ge=1, le=1000)] = 16
    conversations: Annotated[int, Meta(ge=1, le=1000)] = 10
    max_tokens: Annotated[int, Meta(ge=16, le=32768)] = 512


class Processing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[processing]: embeddings and the search index."""

    embedding_model: str = ""  # a sentence-transformers folder; "" = the bundled one
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0 = cores - 1


class Documents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[documents]: how files are read."""

    ocr_languages: tuple[str, ...] = ("eng", "spa")  # tesseract's names, of those installed
    ocr_dpi: Annotated[int, Meta(ge=72, le=600)] = 200
    max_file_mib: Annotated[int, Meta(ge=1, le=4096)] = 200
    max_pages: Annotated[int, Meta(ge=1)] = 5000
    parse_memory_mib: Annotated[int, Meta(ge=128)] = 1024
    parse_page_s: Annotated[float, Meta(ge=1)] = 120.0  # a page that takes longer fails the document
    passage_words: Annotated[int, Meta(ge=20, le=1000)] = 110
    passage_overlap_words: Annotated[int, Meta(ge=0, le=200)] = 20


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[memory]: records and their copies."""

    pull_s: Annotated[float, Meta(ge=0.1, le=3600)] = 2.0  # how often missing records are asked of peers


class Monitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[monitoring]: nightly work and logs."""

    nightly_at: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "03:00"  # local time
    log_keep_days: Annotated[int, Meta(ge=1, le=3650)] = 14


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole tarsd.toml."""

    node: Node = Node()
    network: Network = Network()
    gossip: Gossip = Gossip()
    api: Api = Api()
    cognitive: Cognitive = Cognitive()
    processing: Processing = Processing()
    documents: Documents = Documents()
    memory: Memory = Memory()
    monitoring: Monitoring = Monitoring()
