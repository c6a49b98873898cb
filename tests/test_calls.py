import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ALL, CallSpec
from tarsd.names import Zone
from tarsd.wire import decode, encode

SPECS = list(ALL.values())
BY_NAME = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def test_every_capability_of_the_module_is_listed_under_its_name():
    defined = {found.name: found for found in vars(calls).values() if isinstance(found, CallSpec)}
    assert defined == ALL


@BY_NAME
def test_no_capability_is_open_to_a_lab_node_by_accident(spec):
    """A zone is opened on purpose: adding one here and in the spec is that purpose."""
    open_to_lab = {"renew"}  # a lab node cannot renew its certificate by itself
    assert (Zone.LAB in spec.zones) == (spec.name in open_to_lab)
    assert Zone.CORE in spec.zones


@BY_NAME
def test_every_call_has_a_deadline(spec):
    assert 0 < spec.deadline_s <= 24 * 3600


@BY_NAME
def test_requests_and_items_are_structs_that_cannot_change_under_a_call(spec):
    for kind in (spec.request, spec.item):
        assert issubclass(kind, msgspec.Struct)
        assert kind.__struct_config__.frozen


def sample(kind):
    """A request or item with only what it must have: what an old node sends to a new one."""
    fillers = {str: "x", int: 1, float: 1.0, bool: True, bytes: b"\x01"}
    needed = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            options = [field.type, *getattr(field.type, "__args__", ())]
            filler = next((fillers[option] for option in options if option in fillers), None)
            base = getattr(field.type, "__supertype__", field.type)
            origin = getattr(field.type, "__origin__", None)
            if origin in (list, dict):
                needed[field.name] = origin()
            elif isinstance(base, type) and hasattr(base, "__members__"):
                needed[field.name] = next(iter(base))
            elif isinstance(base, type) and issubclass(base, msgspec.Struct):
                needed[field.name] = sample(base)
            elif base in fillers:
                needed[field.name] = fillers[base]
            else:  # a Literal: any of its values
                needed[field.name] = field.type.__args__[0] if filler is None else filler
    return kind(**needed)


@BY_NAME
def test_what_is_sent_arrives_whole(spec):
    for kind in (spec.request, spec.item):
        message = sample(kind)
        assert decode(encode(message), kind) == message


@BY_NAME
def test_a_newer_peers_field_does_no_harm(spec):
    for kind in (spec.request, spec.item):
        message = msgspec.to_builtins(sample(kind), builtin_types=(bytes,))
        assert decode(encode(message | {"invented_later": [1]}), kind) == sample(kind)


def test_uploads_are_said_where_bytes_follow():
    assert [spec.name for spec in SPECS if spec.uploads] == ["ingest"]
