"""The identity folder of a node, `<data_dir>/identity/`: its files, their modes, and how they are replaced.

Rules
1. The folder is 0700; every file in it is 0600 from the moment it exists.
2. A file is replaced whole (temporary file, fsync, rename): a crash leaves the old one or the new one.
3. A new identity is written beside and renamed into place: there is never half a node.

    node.json        who this node is (`NodeFile`), so that a start need not parse certificates
    node.key         this node's private key, made here, never sent
    node.crt         its certificate, followed by its zone's authority
    root.crt         the cluster's root: all that is trusted
    core.crt .key    the zones' authorities, on core nodes only: any of them can invite; those that replaced them
    lab.crt .key     carry a number (`issuers.py`)
    root.key         on the node that made the cluster; needed only to make new authorities, can be kept offline
    revoked.json     who is revoked, and a copy of it (`revocations.py`)
    inviter.json     where the node is that let this one in: the first place where gossip looks
    rotation.json    how far a change of authorities is, on the node that began it (`rotation.py`)
    invites/         open and used invitations
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from tarsd.errors import ConfigError
from tarsd.names import NodeId, NodeName, Zone


class Signed(NamedTuple):
    """An authority's certificate and private key, both PEM."""

    certificate: bytes
    key: bytes


class NodeFile(msgspec.Struct, frozen=True):
    """What node.json holds; `not_after` is the certificate's end in seconds since 1970, `issuer` who signed it."""

    node_id: NodeId
    name: NodeName
    zone: Zone
    cluster: str
    cluster_name: str
    not_after: float
    issuer: int = 1


def folder_of(data_dir: Path) -> Path:
    """Return the identity folder of a data folder."""
    return data_dir / "identity"


def write_private(path: Path, data: bytes) -> None:
    """Put `data` into `path`, whole and readable by its owner only; raises `ConfigError` where that fails."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def create_folder(data_dir: Path, files: dict[str, bytes]) -> Path:
    """Make the identity folder with `files`, all or nothing; raises `ConfigError` where a node already is."""
    folder = folder_of(data_dir)
    refuse_second(data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=data_dir, prefix=".identity."))  # mkdtemp makes it 0700
    except OSError as error:
        raise ConfigError(f"{data_dir}: cannot be written: {error.strerror}") from error
    try:
        for name, data in files.items():
            write_private(beside / name, data)
        beside.rename(folder)
        _sync_folder(data_dir)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def refuse_second(data_dir: Path) -> None:
    """Raise `ConfigError` where this data folder already belongs to a cluster."""
    folder = folder_of(data_dir)
    if folder.exists():
        raise ConfigError(
            f"{folder}: this node already belongs to a cluster; move that folder away first to make it another node"
        )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
