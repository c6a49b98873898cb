"""Which authorities a core node holds, and which of them it signs with.

    core.crt .key, lab.crt .key        generation 1
    core.2.crt .key, lab.2.crt .key    generation 2, and so on
    issuers.json                       the generation in use

Rules
1. An authority is kept only when the root signed it, for that zone and generation, and its key fits.
2. Which one is in use changes by replacing one small file: after a crash it is the old one or the new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tarsd.errors import ConfigError, NotAllowed
from tarsd.identity.folder import Signed, write_private
from tarsd.names import Zone

_FILE = "issuers.json"
_CERTIFICATE = re.compile(r"(?:core|lab)(?:\.([1-9][0-9]{0,8}))?\.crt")


class _Issuers(msgspec.Struct, frozen=True):
    using: int = 1


def using(folder: Path) -> int:
    """Return the generation that this node signs with; raises `ConfigError`."""
    path = folder / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Issuers).using
    except FileNotFoundError:
        return 1
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def installed(folder: Path) -> int:
    """Return the newest generation whose authorities are all here; 0 = none, as on lab nodes."""
    found = {int(match[1] or 1) for path in folder.iterdir() if (match := _CERTIFICATE.fullmatch(path.name))}
    whole = [number for number in found if all(path.exists() for path in files_of(folder, number))]
    return max(whole, default=0)


def read_issuer(folder: Path, zone: Zone, generation: int | None = None) -> Signed:
    """Return a zone's authority, the one in use by default; raises `ConfigError`."""
    generation = using(folder) if generation is None else generation
    certificate, key = paths_of(folder, zone, generation)
    try:
        return Signed(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error


def read_issuers(folder: Path, generation: int) -> dict[Zone, Signed]:
    """Return all zones' authorities of a generation; raises `ConfigError`."""
    return {zone: read_issuer(folder, zone, generation) for zone in Zone}


def check_issuers(authorities: Mapping[Zone, Signed], root: bytes) -> int:
    """Return the generation of `authorities`, one for each zone; raises `NotAllowed` by rule 1."""
    from tarsd.identity import authority as ca

    generations = set()
    for zone in Zone:
        signed = authorities.get(zone)
        if signed is None:
            raise NotAllowed(f"the authority of zone {zone} is missing")
        found = ca.read_authority_certificate(signed.certificate, root)
        if found.zone is not zone or ca.public_of(signed.key) != found.public_key:
            raise NotAllowed(f"that is not the authority of zone {zone}")
        generations.add(found.generation)
    if len(generations) != 1:
        raise NotAllowed("the authorities of the zones are of different generations")
    return generations.pop()


def install(folder: Path, authorities: Mapping[Zone, Signed], root: bytes) -> int:
    """Keep new authorities beside those in use; returns their generation. Raises `NotAllowed`, `ConfigError`."""
    generation = check_issuers(authorities, root)
    files = names_of(authorities, generation)
    if all((folder / name).exists() and (folder / name).read_bytes() == data for name, data in files.items()):
        return generation
    if generation <= using(folder):
        raise NotAllowed(f"other authorities of number {generation} are in use here")
    for name, data in files.items():
        write_private(folder / name, data)
    return generation


def use(folder: Path, generation: int) -> None:
    """Sign with this generation from now on; raises `ConfigError` where it is not here."""
    read_issuers(folder, generation)
    write_private(folder / _FILE, msgspec.json.encode(_Issuers(generation)))


def discard_before(folder: Path, generation: int) -> None:
    """Remove the authorities that are retired: their keys are good for nothing any more."""
    for number in range(1, min(generation, using(folder))):
        for path in files_of(folder, number):
            path.unlink(missing_ok=True)


def names_of(authorities: Mapping[Zone, Signed], generation: int) -> dict[str, bytes]:
    """Return the files that hold `authorities`, keys first: a certificate is never here without its key."""
    keys = {paths_of(Path(), zone, generation)[1].name: signed.key for zone, signed in authorities.items()}
    return keys | {paths_of(Path(), zone, generation)[0].name: s.certificate for zone, s in authorities.items()}


def using_file(generation: int) -> dict[str, bytes]:
    """Return the file that says which generation is in use."""
    return {_FILE: msgspec.json.encode(_Issuers(generation))} if generation > 1 else {}


def files_of(folder: Path, generation: int) -> list[Path]:
    """Return all files of a generation."""
    return [path for zone in Zone for path in paths_of(folder, zone, generation)]


def paths_of(folder: Path, zone: Zone, generation: int) -> tuple[Path, Path]:
    """Return the certificate's and the key's path."""
    stem = str(zone) if generation == 1 else f"{zone}.{generation}"
    return folder / f"{stem}.crt", folder / f"{stem}.key"
