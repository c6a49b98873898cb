"""Where else people can go: the other nodes' APIs, as clients are told them and as the guard believes them. Pure.

Rules
1. A node tells the others the URLs that they can reach; loopback ones only where its whole network is on loopback.
2. Clients are told the peers of the core zone that are there, the best first; nobody is sent to a node that is gone.
3. The page of any core member, gone or not, may open the chat here: that is where its reader comes from. A revoked
   member's may not.
4. What a member says of its URLs is taken only in their plain form: scheme, host, port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from tarsd.config import Api
from tarsd.gossip.member import Member, State
from tarsd.names import Zone

MAX_URLS = 4  # of one member
MAX_PEERS = 16  # told to a client

_WILD = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_THERE = (State.ALIVE, State.SUSPECT)


@lru_cache(maxsize=256)
def is_loopback(address: str) -> bool:
    """Return whether `address`, a literal or `localhost`, never leaves this PC."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def api_urls(settings: Api, port: int, network: Sequence[str], own_addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs to tell the others (rule 1).

    `network` is where calls are listened for, `own_addresses` under which addresses this PC is reached, best first.
    """
    if is_loopback(settings.listen):
        hosts = [settings.listen] if all(map(is_loopback, network)) else []
    elif settings.listen in _WILD:
        hosts = [*own_addresses, *settings.allowed_hosts]
    else:
        hosts = [settings.listen, *settings.allowed_hosts]
    scheme = "https" if settings.tls_cert else "http"
    urls = [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts]
    return tuple(dict.fromkeys(url for url in urls if origin_of(url)))[:MAX_URLS]


def origin_of(url: str) -> str:
    """Return `url` as the origin of its pages, "" when it is anything but scheme, host and port (rule 4)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    plain = parts.scheme in ("http", "https") and "@" not in parts.netloc and parts.path in ("", "/")
    if not plain or not _is_host(host) or parts.query or parts.fragment:
        return ""
    standard = {"http": 80, "https": 443}[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" if port in (None, standard) else f"{parts.scheme}://{shown}:{port}"


def peer_urls(members: Iterable[Member]) -> list[str]:
    """Return the base URLs of the peers that a client can go to, the best first (rule 2)."""
    known = list(members)
    near = any(_on_loopback(url) for own in known if own.is_self for url in own.api)
    peers = [m for m in known if not m.is_self and m.zone is Zone.CORE and m.state in _THERE]
    peers.sort(key=lambda m: (not m.routable, m.hold_s > 0, m.name))
    urls = [url for m in peers for url in _origins(m) if near or not _on_loopback(url)]
    return list(dict.fromkeys(urls))[:MAX_PEERS]


def member_origins(members: Iterable[Member]) -> frozenset[str]:
    """Return the origins of the pages that core members serve (rule 3)."""
    return frozenset(
        url for m in members if m.zone is Zone.CORE and m.state is not State.REVOKED for url in _origins(m)
    )


def _origins(member: Member) -> list[str]:
    return [origin for url in member.api[:MAX_URLS] if (origin := origin_of(url))]


def _on_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _is_host(host: str) -> bool:
    """Return whether `host` is an address or a name; what else it might be must not get into a header."""
    return bool(host) and host.isascii() and all(c.isalnum() or c in "-._:" for c in host)
