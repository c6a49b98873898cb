import inspect
import math
import re

import pytest

from tarsd import errors
from tarsd.errors import Overloaded, PeerLost, TarsdError, Unavailable, WorkerLost, from_wire, to_wire

OURS = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, TarsdError)]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_crosses_the_wire_as_itself(kind):
    back = from_wire(*to_wire(kind("the disk is full")))
    assert type(back) is kind
    assert str(back) == "the disk is full"


def test_the_tree_in_the_docstring_is_the_tree():
    drawn, above = {}, []
    for prefix, name in re.findall(r"^    ([ |`-]*)(\w+)", errors.__doc__, re.MULTILINE):
        depth = len(prefix) // 3
        del above[depth:]
        drawn[name] = above[-1] if above else None
        above.append(name)
    assert drawn == {kind.__name__: None if kind is TarsdError else kind.__mro__[1].__name__ for kind in OURS}


def test_an_error_that_is_not_ours_keeps_its_text_at_home():
    assert to_wire(ValueError("password is 1234")) == ("TarsdError", "internal error", 0.0)


def test_a_name_that_is_unknown_here_becomes_the_root():
    back = from_wire("FutureError", "something new")
    assert type(back) is TarsdError
    assert str(back) == "something new"


def test_a_peer_cannot_name_a_builtin():
    assert type(from_wire("SystemExit", "bye")) is TarsdError


@pytest.mark.parametrize("kind", [Overloaded, PeerLost, WorkerLost, errors.EngineUnavailable])
def test_what_may_work_elsewhere_is_unavailable(kind):
    assert issubclass(kind, Unavailable)


def test_what_fails_the_same_everywhere_is_not_unavailable():
    for kind in (errors.InvalidInput, errors.NotAllowed, errors.NotFound, errors.DeadlineExceeded, errors.StorageError):
        assert not issubclass(kind, Unavailable)


def test_an_overload_says_when_to_come_again_across_the_wire_too():
    back = from_wire(*to_wire(Overloaded("full", retry_after_s=3.5)))
    assert isinstance(back, Overloaded)
    assert back.retry_after_s == errors.retry_after_s(back) == 3.5
    assert errors.retry_after_s(PeerLost("gone")) == 0.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan, 1e12])
def test_a_time_that_is_none_is_not_believed(seconds):
    back = from_wire("Overloaded", "full", seconds)
    assert isinstance(back, Overloaded)
    assert back.retry_after_s == Overloaded().retry_after_s


def test_the_place_of_an_error_never_tells_its_text():
    try:
        raise ValueError("what Ana asked")
    except ValueError as error:
        told = errors.place_of(error)
    assert told.startswith("ValueError\n")
    assert "test_errors.py" in told
