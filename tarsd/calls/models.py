"""Models: which ones a node has, copying one from node to node, taking one in, removing it, and how fast they are.

A model is one GGUF file. Its name is the catalog's (`[[models.catalog]]`), or the file's own without its ending.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import Capability


class Speed(msgspec.Struct, frozen=True):
    """How fast one model is with one engine on one PC, as measured there (medians; 0 = not measured).

    `together_tokens_per_s`: all answers together when `together` are generated at once. `memory_bytes`: resident memory
    of the engine's process. `at`: when it was measured, seconds since 1970.
    """

    engine: str
    model: str
    load_s: float = 0.0
    prompt_tokens_per_s: float = 0.0
    tokens_per_s: float = 0.0
    first_token_s: float = 0.0
    together: int = 0
    together_tokens_per_s: float = 0.0
    memory_bytes: int = 0
    threads: int = 0
    at: float = 0.0


class Model(msgspec.Struct, frozen=True):
    """One model as a node has it.

    `state`: `loaded` (answers at once), `loading`, `present` (on disk, loaded on demand), `pulling`, `absent` (in the
    catalog only: fetched when it is asked for), `failed` (see `reason`). `sha256` is "" while it is not known yet.
    `expires_s`: after so long without a question it is unloaded; None = it stays.
    """

    name: str
    state: Literal["loaded", "loading", "present", "pulling", "absent", "failed"]
    source: str = ""
    sha256: str = ""
    size_bytes: int = 0
    engine: str = ""
    context_tokens: int = 0
    architecture: str = ""
    parameters: int = 0
    quantization: str = ""
    memory_bytes: int = 0  # while loaded
    expires_s: float | None = None
    reason: str = ""
    modified_at: float = 0.0  # of the file, seconds since 1970
    template: str = ""  # of the chat, where it is known
    can_use_tools: bool = False
    speed: Speed | None = None


class ModelsRequest(msgspec.Struct, frozen=True):
    """Ask for all models of a node, or for the one called `name` (none is no error: an empty list)."""

    name: str = ""


class ModelsItem(msgspec.Struct, frozen=True):
    """The models of one node, the default one first."""

    models: list[Model]


class ModelFileRequest(msgspec.Struct, frozen=True):
    """Ask for the bytes of a model's file from `offset` on, by its `sha256`, or by its `name`."""

    name: str = ""
    sha256: str = ""
    offset: int = 0


class ModelFileItem(msgspec.Struct, frozen=True):
    """The next bytes; the first item tells size and hash of the whole file."""

    data: bytes = b""
    size_bytes: int = 0
    sha256: str = ""


class PullRequest(msgspec.Struct, frozen=True):
    """Take a model in: a name of the catalog, or `source` ("hf:owner/repository/file.gguf"), from a peer if one has it.

    A pull that runs already is followed, not begun again; the reader's end does not end it.
    """

    name: str = ""
    source: str = ""
    sha256: str = ""


class PullItem(msgspec.Struct, frozen=True):
    """Progress; the last item has stage done or failed. `origin`: the peer's name, or the host it comes from."""

    name: str
    stage: Literal["queued", "asking", "fetching", "verifying", "done", "failed"]
    done_bytes: int = 0
    total_bytes: int = 0
    origin: str = ""
    reason: str = ""
    sha256: str = ""


class RemoveModelRequest(msgspec.Struct, frozen=True):
    """Unload a model and delete its file, if tarsd fetched it; a file of yours elsewhere is never deleted."""

    name: str


class RemoveModelItem(msgspec.Struct, frozen=True):
    """What was freed on disk."""

    freed_bytes: int = 0
    detail: str = ""


class MeasureRequest(msgspec.Struct, frozen=True):
    """Measure the speed of these models on the node asked; none = every engine that is configured there."""

    models: list[str] = []
    quick: bool = False


class MeasureItem(msgspec.Struct, frozen=True):
    """Progress (`doing`, a short sentence), or the result of one engine and model, or why it could not be measured."""

    doing: str = ""
    speed: Speed | None = None
    failed: str = ""


MODELS = CallSpec(Capability("models"), ModelsRequest, ModelsItem, deadline_s=10)
MODEL_FILE = CallSpec(Capability("model_file"), ModelFileRequest, ModelFileItem, deadline_s=24 * 3600)
PULL = CallSpec(Capability("pull"), PullRequest, PullItem, deadline_s=24 * 3600)
REMOVE_MODEL = CallSpec(Capability("remove_model"), RemoveModelRequest, RemoveModelItem, deadline_s=60)
MEASURE = CallSpec(Capability("measure"), MeasureRequest, MeasureItem, deadline_s=3600)
