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
_NAME = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
_NAME_IN_WORDS = {"description": "1 to 32 small letters, digits and inner hyphens"}
NameText = Annotated[str, Meta(pattern=f"^{_NAME}$", extra_json_schema=_NAME_IN_WORDS)]
NameTextOrNone = Annotated[str, Meta(pattern=f"^({_NAME})?$", extra_json_schema=_NAME_IN_WORDS)]
_MODEL = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
_MODEL_IN_WORDS = {"description": "1 to 64 letters, digits, dots, colons, hyphens, underscores, not first a sign"}
_SHA256_IN_WORDS = {"description": "64 small hex digits"}
TimeOfDay = Annotated[
    str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", extra_json_schema={"description": '"HH:MM", from 00:00 to 23:59'})
]


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[node]: who this PC is and what it does."""

    # "" = the PC's host name
    name: NameTextOrNone = ""
    # a node without roles still takes questions and keeps records
    roles: tuple[RoleName, ...] = ()
    data_dir: Path = Path("/var/lib/tarsd")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[network]: how nodes reach one another."""

    # addresses for gossip (UDP) and calls (TCP); families that the PC lacks are skipped
    listen: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104 - peers come from the LAN, with certificates
    # one number for both; 0 = any free port
    port: Port = 7710
    # open only while an invitation is; 0 = any free port
    join_port: Port = 7712
    # "host:port" of other nodes, where multicast does not reach
    seeds: tuple[str, ...] = ()
    mdns: bool = True
    # addresses of the interfaces for mDNS; empty = those of `listen`, or all
    mdns_interfaces: tuple[str, ...] = ()
    # a call without a frame for so long is taken elsewhere
    silence_s: Annotated[float, Meta(ge=0.5, le=30)] = 2.0
    # an open call shows this often that it lives
    beat_s: Annotated[float, Meta(ge=0.1, le=5)] = 0.5


class Gossip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[gossip]: membership and failure detection."""

    probe_interval_s: Annotated[float, Meta(ge=0.1, le=10)] = 0.5
    # nodes up to which everyone probes everyone
    mesh_up_to: Annotated[int, Meta(ge=2, le=64)] = 16
    # how many others are asked to probe in our place before a member is suspected
    indirect_probes: Annotated[int, Meta(ge=0, le=10)] = 3
    # at least so long a suspect may still answer
    suspicion_min_s: Annotated[float, Meta(ge=0.5, le=60)] = 2.0
    reprobe_dead_s: Annotated[float, Meta(ge=0.5, le=600)] = 5.0


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[api]: what people and their programs talk to."""

    listen: str = "127.0.0.1"
    # 0 = any free port
    port: Port = 7711
    # needed, with tls_key, for any address that is not loopback
    tls_cert: Path | None = None
    tls_key: Path | None = None
    # further Host names a browser may use, such as "tars.home"
    allowed_hosts: tuple[str, ...] = ()
    max_body_mib: Annotated[int, Meta(ge=1, le=4096)] = 200


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[cognitive.engines]]: one way to generate text; the first that works is used."""

    kind: Literal["llama_cpp", "ollama", "transformers", "openai"]
    # llama_cpp: path of a GGUF, or a name of the catalog; transformers: a folder; else the server's model name.
    # "" = the bundled model
    model: str = ""
    # of an Ollama or OpenAI-compatible server
    url: str = ""
    api_key_file: Path | None = None
    context_tokens: Annotated[int, Meta(ge=256, le=1_048_576)] = 8192
    # 0 = cores - 1
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    # -1 = all, -2 = as many as fit
    gpu_layers: Annotated[int, Meta(ge=-2)] = -2
    # answers generated at once; 0 = 4 for llama_cpp and servers, 1 for transformers
    slots: Annotated[int, Meta(ge=0, le=64)] = 0
    # tokens that all answers and warm conversations hold together; 0 = context_tokens
    cache_tokens: Annotated[int, Meta(ge=0, le=16_777_216)] = 0
    # memory for the state of conversations that were pushed out of the cache
    warm_mib: Annotated[int, Meta(ge=0, le=1_048_576)] = 64
    # private memory of the worker, beyond which it is replaced; 0 = no bound
    memory_mib: Annotated[int, Meta(ge=0)] = 0


class CatalogModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[models.catalog]]: a model that this PC may load on demand, by llama.cpp."""

    name: Annotated[str, Meta(pattern=_MODEL, extra_json_schema=_MODEL_IN_WORDS)]
    # path of a GGUF, "hf:owner/repository/file.gguf", or "" = from a peer that has it (by name or sha256)
    source: str = ""
    # of the whole file; "" = what the source says
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$", extra_json_schema=_SHA256_IN_WORDS)] = ""
    context_tokens: Annotated[int, Meta(ge=256, le=1_048_576)] = 8192
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    gpu_layers: Annotated[int, Meta(ge=-2)] = -2
    slots: Annotated[int, Meta(ge=0, le=64)] = 0
    cache_tokens: Annotated[int, Meta(ge=0, le=16_777_216)] = 0
    warm_mib: Annotated[int, Meta(ge=0, le=1_048_576)] = 64


class Models(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[models]: model files, and which of them are in memory."""

    # where fetched models are kept; none = "models" in the data folder
    dir: Path | None = None
    # a model that was loaded on demand stays so long after its last answer
    keep_alive_s: Annotated[float, Meta(ge=0, le=604_800)] = 300.0
    # so does the model of [cognitive], after which it is loaded on demand; 0 = it stays for ever
    unload_idle_s: Annotated[float, Meta(ge=0, le=604_800)] = 0.0
    # what all loaded models may take together; 0 = 60 % of this PC's memory
    memory_mib: Annotated[int, Meta(ge=0)] = 0
    # where "hf:" models come from; "" = never from the internet
    hub: str = "https://huggingface.co"
    hub_token_file: Path | None = None
    catalog: tuple[CatalogModel, ...] = ()


class Cognitive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[cognitive]: the language model and the conversations."""

    # the order decides
    engines: tuple[Engine, ...] = (Engine(kind="llama_cpp"),)
    queue: Annotated[int, Meta(ge=1, le=1000)] = 32
    conversations: Annotated[int, Meta(ge=1, le=1000)] = 10
    max_tokens: Annotated[int, Meta(ge=16, le=32768)] = 512


class Processing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[processing]: embeddings and the search index."""

    # a sentence-transformers folder; "" = the bundled one
    embedding_model: str = ""
    # 0 = cores - 1
    threads: Annotated[int, Meta(ge=0, le=256)] = 0


class Documents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[documents]: how files are read."""

    # tesseract's names, of those installed
    ocr_languages: tuple[str, ...] = ("eng", "spa")
    ocr_dpi: Annotated[int, Meta(ge=72, le=600)] = 200
    max_file_mib: Annotated[int, Meta(ge=1, le=4096)] = 200
    max_pages: Annotated[int, Meta(ge=1)] = 5000
    parse_memory_mib: Annotated[int, Meta(ge=128)] = 1024
    # a page that takes longer fails the document
    parse_page_s: Annotated[float, Meta(ge=1)] = 120.0
    passage_words: Annotated[int, Meta(ge=20, le=1000)] = 110
    passage_overlap_words: Annotated[int, Meta(ge=0, le=200)] = 20


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[memory]: records and their copies."""

    # how often a peer that has something new is asked for it; the first time at once
    pull_s: Annotated[float, Meta(ge=0.1, le=3600)] = 2.0
    # on how many core nodes a write is to be on disk before it is told as safe
    copies: Annotated[int, Meta(ge=1, le=16)] = 2
    # how long a write waits for that; then it is told with the note that it has fewer copies
    copies_wait_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    # whether what people say in chats is learned without being asked to
    automatic: bool = True
    # how many backups of this PC's records are kept in its data folder; a night makes one
    backups: Annotated[int, Meta(ge=1, le=365)] = 7


class Monitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[monitoring]: nightly work and logs."""

    # local time
    nightly_at: TimeOfDay = "03:00"
    log_keep_days: Annotated[int, Meta(ge=1, le=3650)] = 14


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole tarsd.toml."""

    node: Node = Node()
    network: Network = Network()
    gossip: Gossip = Gossip()
    api: Api = Api()
    cognitive: Cognitive = Cognitive()
    models: Models = Models()
    processing: Processing = Processing()
    documents: Documents = Documents()
    memory: Memory = Memory()
    monitoring: Monitoring = Monitoring()
