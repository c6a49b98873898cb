"""How far a change of authorities is: a file on the node that began it, so that it can be gone on with after anything.

    install   every core node holds the new authorities, signed by the root
    use       every node has a certificate of the new ones
    remove    the old ones are retired: their certificates and words count no more

Rules
1. A phase begins when every live node has acknowledged the one before.
2. What is done twice does no harm: `tarsd rotate` after a failure goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from tarsd.errors import ConfigError, NotAllowed
from tarsd.identity import issuers
from tarsd.identity.folder import Signed, write_private
from tarsd.identity.identity import Identity, read_file
from tarsd.identity.notices import Retirement, Revocation, retire, write_notice
from tarsd.names import NodeId, NodeName, Zone

Phase = Literal["install", "use", "remove", "done"]
PHASES: tuple[Phase, ...] = ("install", "use", "remove", "done")
_FILE = "rotation.json"


class RotationState(msgspec.Struct, frozen=True):
    """`acknowledged`: by phase, the names of the nodes that have done it."""

    generation: int
    phase: Phase
    began: int
    acknowledged: dict[str, list[NodeName]] = {}


def read_state(folder: Path) -> RotationState | None:
    """Return the latest change of authorities that this node began; raises `ConfigError`."""
    path = folder / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RotationState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def write_state(folder: Path, state: RotationState) -> None:
    """Keep the state; raises `ConfigError`."""
    write_private(folder / _FILE, msgspec.json.encode(state))


def has_root(folder: Path) -> bool:
    """Whether the root's private key is on this node."""
    return (folder / "root.key").exists()


def begin(identity: Identity, now: float | None = None) -> RotationState:
    """Return the change that is under way, or begin one: its authorities are on disk here afterwards.

    Raises `NotAllowed` where the root's key is not here: only it can make authorities.
    """
    from tarsd.identity import authority as ca

    folder = identity.folder
    state = read_state(folder)
    now = time.time() if now is None else now
    if state is None or state.phase == "done":
        _refuse_without_root(folder)
        state = RotationState(issuers.installed(folder) + 1, "install", int(now))
        write_state(folder, state)
    if issuers.installed(folder) < state.generation:
        _refuse_without_root(folder)
        root = Signed(read_file(folder / "root.crt"), read_file(folder / "root.key"))
        made = {zone: ca.make_authority(root, zone, now, state.generation) for zone in Zone}
        for path in issuers.files_of(folder, state.generation):
            path.unlink(missing_ok=True)  # half of them, from a crash
        issuers.install(folder, made, root.certificate)
    return state


def retirement(
    identity: Identity, generation: int, vouched: Iterable[tuple[NodeId, Zone]], now: float | None = None
) -> list[bytes]:
    """Return the notices that retire the authorities before `generation`, to be taken in this order.

    What the old ones revoked is said again by the new one, so that it counts for nodes that hear it later.
    """
    root = read_file(identity.folder / "root.crt")
    signer = issuers.read_issuer(identity.folder, Zone.CORE, generation)
    at = int(time.time() if now is None else now)
    bodies: list[Revocation | Retirement] = [
        revocation for revocation in identity.notices.revoked() if identity.notices.is_believed(revocation.node_id)
    ]
    bodies.append(retire(generation, at, vouched))
    return [write_notice(body, signer, root).raw for body in bodies]


def _refuse_without_root(folder: Path) -> None:
    if not has_root(folder):
        raise NotAllowed("the root key (identity/root.key) is not on this PC")
