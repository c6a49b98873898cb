"""What a person settles for itself, and taking all that is remembered out of a node and in again. Core nodes serve it.

Bodies cross as the records keep them (`tarsd.memory.bodies`), without their salt; who may see and write what is
decided by the callee from `Who`.
"""

from __future__ import annotations

import msgspec

from tarsd.calls.memories import Copies, Who
from tarsd.calls.spec import CallSpec
from tarsd.names import Capability

MAX_IMPORT_ENTRIES = 500
MAX_IMPORT_BYTES = 2 * 1024 * 1024  # of one call's bodies: a frame holds 4 MiB


class SettingsRequest(msgspec.Struct, frozen=True):
    """Ask for the settings of a person."""

    who: Who


class SaveSettingsRequest(msgspec.Struct, frozen=True):
    """Settle something for the person; None leaves it as it is."""

    who: Who
    automatic: bool | None = None


class SettingsItem(msgspec.Struct, frozen=True):
    """What is settled for a person. `automatic`: TARS learns about it by itself.

    `allowed`: the configuration of this node lets it learn by itself at all.
    """

    person: str
    automatic: bool
    allowed: bool = True
    copies: Copies = Copies()


class Entry(msgspec.Struct, frozen=True):
    """One memory, summary or project as records keep it; `line` says where it stood, for what is said about it."""

    kind: str
    body: bytes
    line: int = 0


class ExportRequest(msgspec.Struct, frozen=True):
    """Ask for all that this person may see: projects, then summaries, then memories, each in the order of their keys.

    `history`: also what something newer took the place of.
    """

    who: Who
    history: bool = True


class ExportItem(msgspec.Struct, frozen=True):
    """Some of it; the last item of the call is the only one with no entries, and counts them all."""

    entries: list[Entry]
    total: int = 0


class ImportRequest(msgspec.Struct, frozen=True):
    """Take these in. With `preview` nothing is written, the item says what would be.

    `coming`: ids of projects that the import has and an earlier call, or nobody yet in a preview, has written.
    """

    who: Who
    entries: list[Entry]
    preview: bool = False
    coming: list[str] = []


class RefusedEntry(msgspec.Struct, frozen=True):
    """An entry that was not taken in: where it stood, which field is to blame, and why."""

    line: int
    field: str
    reason: str


class ImportItem(msgspec.Struct, frozen=True):
    """How many were new and are on disk now, how many were here already, and which were refused."""

    new: int
    known: int
    refused: list[RefusedEntry]
    copies: Copies = Copies()


SETTINGS = CallSpec(Capability("settings"), SettingsRequest, SettingsItem, deadline_s=10)
SAVE_SETTINGS = CallSpec(Capability("save_settings"), SaveSettingsRequest, SettingsItem, deadline_s=15)
EXPORT = CallSpec(Capability("export"), ExportRequest, ExportItem, deadline_s=600)
IMPORT = CallSpec(Capability("import"), ImportRequest, ImportItem, deadline_s=60)
