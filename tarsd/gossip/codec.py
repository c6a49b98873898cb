"""Messages to bytes and back, within bounds.

Rules
1. A datagram, with its headers, stays under 1,200 bytes, so that no path on a LAN or VPN fragments it.
2. Decoding any bytes gives a message or `WireError`, never another exception.
3. Size is looked at before anything is decoded.
"""

from __future__ import annotations

import msgspec

from tarsd.errors import WireError
from tarsd.gossip.messages import Hello, Message

MAX_DATAGRAM_BYTES = 1200 - 48  # less the IPv6 and UDP headers
SEAL_BYTES = 18 + 16  # our header and the authentication tag
MAX_MESSAGE_BYTES = MAX_DATAGRAM_BYTES - SEAL_BYTES
MAX_HELLO_BYTES = 1024 * 1024  # guards the reader of a greeting; 1,000 members need about 100 KiB

_ENCODER = msgspec.msgpack.Encoder()
_MESSAGES: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_HELLOS = msgspec.msgpack.Decoder(Hello)


def encode(message: Message) -> bytes:
    """Return the message's bytes; raises `WireError` when no datagram can hold them."""
    data = _ENCODER.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"a {type(message).__name__} of {len(data)} bytes is over {MAX_MESSAGE_BYTES}")
    return data


def decode(data: bytes) -> Message:
    """Return the message in `data`; raises `WireError`."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(data)} bytes is over {MAX_MESSAGE_BYTES}")
    try:
        return _MESSAGES.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a gossip message: {error}") from error


def encode_hello(hello: Hello) -> bytes:
    """Return a greeting's bytes."""
    return _ENCODER.encode(hello)


def decode_hello(data: bytes) -> Hello:
    """Return the greeting in `data`; raises `WireError`."""
    if len(data) > MAX_HELLO_BYTES:
        raise WireError(f"a greeting of {len(data)} bytes is over {MAX_HELLO_BYTES}")
    try:
        return _HELLOS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a greeting: {error}") from error
