import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd import wire
from tarsd.errors import WireError
from tarsd.wire import BEAT, END, Frame, FrameReader, Kind, decode, encode, encode_frame

FRAMES = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=200)), max_size=8)


class Point(msgspec.Struct, frozen=True):
    x: int
    name: str = ""


class Tree(msgspec.Struct):
    inner: list["Tree"] = []


@given(FRAMES, st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, data):
    stream = b"".join(encode_frame(kind, body) for kind, body in frames)
    reader, found, at = FrameReader(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 50))
        found += reader.feed(stream[at : at + step])
        at += step
    reader.finish()
    assert found == [Frame(kind, body) for kind, body in frames]


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_wire_error(data):
    reader = FrameReader(max_frame_bytes=100)
    try:
        for frame in reader.feed(data):
            assert len(frame.body) <= 100
        reader.finish()
    except WireError:
        pass


def test_the_layout_is_length_kind_body():
    assert encode_frame(Kind.ITEM, b"ab") == b"\x00\x00\x00\x02\x03ab"


def test_beat_and_end_are_empty_frames():
    assert list(FrameReader().feed(BEAT + END)) == [Frame(Kind.BEAT, b""), Frame(Kind.END, b"")]
    assert len(BEAT) == wire.HEADER_BYTES


def test_the_kinds_keep_their_numbers():
    """Old and new nodes talk: a number once given is never given to another kind."""
    assert {kind.name: int(kind) for kind in Kind} == {
        "BEAT": 0,
        "REQUEST": 1,
        "CHUNK": 2,
        "ITEM": 3,
        "END": 4,
        "ERROR": 5,
        "CANCEL": 6,
    }


def test_a_length_over_the_bound_is_refused_from_its_header_alone():
    reader = FrameReader(max_frame_bytes=10)
    header_of_eleven = b"\x00\x00\x00\x0b\x03"
    with pytest.raises(WireError, match="11 bytes is over the bound of 10"):
        list(reader.feed(header_of_eleven))


def test_a_frame_at_the_bound_is_taken_and_one_over_is_not_made():
    assert len(encode_frame(Kind.CHUNK, bytes(wire.MAX_FRAME_BYTES))) == wire.MAX_FRAME_BYTES + wire.HEADER_BYTES
    with pytest.raises(WireError):
        encode_frame(Kind.CHUNK, bytes(wire.MAX_FRAME_BYTES + 1))


def test_an_unknown_kind_is_refused():
    with pytest.raises(WireError, match="unknown kind 7"):
        list(FrameReader().feed(b"\x00\x00\x00\x00\x07"))


def test_a_stream_that_ends_inside_a_frame_is_broken():
    for cut in (1, wire.HEADER_BYTES, wire.HEADER_BYTES + 1):
        reader = FrameReader()
        assert list(reader.feed(encode_frame(Kind.ITEM, b"ab")[:cut])) == []
        with pytest.raises(WireError, match="ended inside a frame"):
            reader.finish()


def test_a_message_comes_back_as_itself():
    assert decode(encode(Point(3, "ñ")), Point) == Point(3, "ñ")


def test_a_field_of_the_wrong_type_is_named():
    with pytest.raises(WireError, match=r"Point: .*\$\.x"):
        decode(encode({"x": "three"}), Point)


def test_a_new_nodes_extra_field_is_ignored_and_a_missing_one_has_its_default():
    assert decode(encode({"x": 1, "colour": "red"}), Point) == Point(1, "")


def test_broken_msgpack_is_a_wire_error():
    with pytest.raises(WireError):
        decode(b"\xc1", Point)


def test_nesting_beyond_reason_is_a_wire_error():
    body = b"\x81\xa5inner\x91" * 5000 + b"\x80"
    with pytest.raises(WireError):
        decode(body, Tree)


def test_text_that_is_not_utf_8_is_a_wire_error():
    with pytest.raises(WireError):
        decode(b"\x82\xa1x\x01\xa4name\xa2\xff\xfe", Point)
