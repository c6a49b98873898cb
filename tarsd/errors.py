"""The one exception tree of tarsd.

    TarsdError
    |- ConfigError            a file or key of the configuration is wrong (exit 78)
    |- InvalidInput           what a person or program sent is wrong; names the field or file
    |  |- CannotServe         this engine cannot do what is asked for (tools, a schema); another one may
    |  |- DocumentError       a document that cannot be read: broken, encrypted, empty, too large
    |  |- ContextOverflow     messages and answer together are longer than the model's context
    |  `- WireError           bytes that are not a frame or message of ours
    |- NotAllowed             the caller may not do this: no certificate, wrong zone, missing scope
    |  `- InviteError         a join token that is wrong, used or expired
    |- NotFound               the thing that was named does not exist
    |- Unavailable            it cannot be done now; another node, or a later time, may do
    |  |- Overloaded          a queue is full; `retry_after_s` says when to come again
    |  |- PeerLost            no connection, a broken one, or silence
    |  |- WorkerLost          a child process died, hung or outgrew its limits
    |  `- EngineUnavailable   an engine cannot be used here; the message says why
    |- DeadlineExceeded       the time given for a call ran out
    |- Superseded             the same answer is given to a newer reader: this one is not to ask again
    `- StorageError           the disk or database failed: full, read-only, corrupt

Over the wire go the class name and one sentence (`to_wire`, `from_wire`), never a traceback.
`Unavailable` and below mean "try elsewhere"; everything else would fail the same way at any peer.
"""

from __future__ import annotations

import traceback

MAX_RETRY_AFTER_S = 24 * 3600.0  # a longer time, infinity or NaN from elsewhere is not believed


class TarsdError(Exception):
    """Anything that tarsd raises on purpose; its text is fit to show to a person."""


class ConfigError(TarsdError):
    """A configuration file or key is wrong; the text names file, key, what was found, what is allowed."""


class InvalidInput(TarsdError):
    """What was sent is wrong; the text names the field or file."""


class CannotServe(InvalidInput):
    """This engine cannot do what the request asks for; another engine of the same node may."""


class DocumentError(InvalidInput):
    """A document that cannot be read; the text says why."""


class ContextOverflow(InvalidInput):
    """What was sent, with the answer it asks for, does not fit the model's context; the text names both lengths."""


class WireError(InvalidInput):
    """Bytes that are not a frame or message of ours."""


class NotAllowed(TarsdError):
    """The caller may not do this."""


class InviteError(NotAllowed):
    """A join token that is wrong, used or expired."""


class NotFound(TarsdError):
    """The thing that was named does not exist."""


class Unavailable(TarsdError):
    """It cannot be done here and now; another node or a later time may do."""


class Overloaded(Unavailable):
    """A queue is full."""

    def __init__(self, message: str = "the queue is full", retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PeerLost(Unavailable):
    """No connection to a peer, a broken one, or silence."""


class WorkerLost(Unavailable):
    """A child process died, hung or outgrew its limits."""


class EngineUnavailable(Unavailable):
    """An engine cannot be used here; the text says why."""


class DeadlineExceeded(TarsdError):
    """The time given for a call ran out."""


class Superseded(TarsdError):
    """The same answer is given to a newer reader; who is told so must not ask again."""


class StorageError(TarsdError):
    """The disk or database failed: full, read-only, corrupt."""


_BY_NAME: dict[str, type[TarsdError]] = {
    error.__name__: error
    for error in (
        TarsdError,
        ConfigError,
        InvalidInput,
        CannotServe,
        DocumentError,
        ContextOverflow,
        WireError,
        NotAllowed,
        InviteError,
        NotFound,
        Unavailable,
        Overloaded,
        PeerLost,
        WorkerLost,
        EngineUnavailable,
        DeadlineExceeded,
        Superseded,
        StorageError,
    )
}


def to_wire(error: BaseException) -> tuple[str, str, float]:
    """Return (class name, sentence, seconds after which to come again; 0 = not known).

    An error that is not ours becomes a bare `TarsdError`, its text stays here.
    """
    if isinstance(error, TarsdError):
        return type(error).__name__, str(error), retry_after_s(error)
    return "TarsdError", "internal error", 0.0


def retry_after_s(error: BaseException) -> float:
    """Return when to come again, 0 for an error that does not say so."""
    return error.retry_after_s if isinstance(error, Overloaded) else 0.0


def place_of(error: BaseException) -> str:
    """Return class and place of an unforeseen error for the log, never its text: that may be a person's."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def from_wire(name: str, sentence: str, retry_after_s: float = 0.0) -> TarsdError:
    """Return the error that a peer or worker named; an unknown name becomes `TarsdError`."""
    error = _BY_NAME.get(name, TarsdError)(sentence)
    if isinstance(error, Overloaded) and 0 < retry_after_s <= MAX_RETRY_AFTER_S:
        error.retry_after_s = retry_after_s
    return error
