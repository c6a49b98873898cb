"""What a failed connection means, in our own words. Pure."""

from __future__ import annotations

import ssl

import aiohttp

from tarsd.errors import NotAllowed, PeerLost, TarsdError

# From OpenSSL's x509_vfy.h.
_NOT_YET_VALID = 9
_EXPIRED = 10
_WRONG_NODE = 62


class NotConnected(PeerLost):
    """No connection was made, so nothing was sent: another address may do."""


def not_connected(error: Exception) -> NotConnected:
    """Return why no connection came about."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return NotConnected(_certificate(error.certificate_error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return NotConnected(_plain(error.os_error))
    if isinstance(error, TimeoutError):
        return NotConnected("no connection in time")
    return NotConnected(_plain(error))


def broken(error: BaseException) -> TarsdError:
    """Return what the loss of a made connection means.

    Under TLS 1.3 a callee that refuses our certificate says so after our side of the handshake is done.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and "alert" in str(cause).lower():
            return NotAllowed(f"this node's certificate was refused ({_plain(cause)})")
        cause = cause.__cause__ or cause.__context__
    return PeerLost(f"the connection broke: {_plain(error)}")


def _certificate(error: Exception) -> str:
    code = getattr(error, "verify_code", 0)
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet: does the clock of this PC, or of that one, go wrong?"
    if code == _EXPIRED:
        return "its certificate has ended: its clock or ours goes wrong, or it was off for too long"
    if code == _WRONG_NODE:
        return "another node answers there"
    return f"its certificate is not good here: {getattr(error, 'verify_message', '') or error}"


def _plain(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
