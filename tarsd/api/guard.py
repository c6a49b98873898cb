"""Who may talk to the client API: decides on Host, Origin and tokens before any handler runs.

Rules
1. Host must be loopback, the address the request arrived at, or listed in `api.allowed_hosts`: a web page that
   re-points its own name at this PC (DNS rebinding) still sends its own name.
2. A WebSocket upgrade or a state-changing request that has an Origin must come from our own page; a client without
   Origin is a program, which the same-origin rule never bound. `null` is no origin of ours. The chat may also be opened
   by the page of another core member that shows a pass, and by nobody else: that is where a reader comes from whose
   node was lost.
3. Where the API listens beyond loopback, everything but the page itself, signing in and /healthz needs a token. The
   chat opens to a pass too, which a member gave to one of its own sessions, unless that member was revoked since.
4. Invite, nightly, revoke, rotate, and what changes or measures models need the admin token, everywhere.
5. Tokens are compared in constant time and never taken from a URL, where logs and histories would keep them.

The page signs in once: its cookie holds a key derived from the token, so the token itself is not kept by a browser.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from tarsd.api.messages import PASS_PREFIX
from tarsd.api.peers import is_loopback, member_origins
from tarsd.api.services import SERVICES, SETTINGS, ApiServices
from tarsd.errors import NotAllowed
from tarsd.gossip.member import State

COOKIE = "tarsd_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ADMIN_PATHS = frozenset(
    {"/api/invite", "/api/nightly", "/api/revoke", "/api/rotate", "/api/pull", "/api/delete", "/api/measure"}
)
OPEN_PATHS = frozenset({"/", "/healthz", "/api/session"})
CHAT_PATH = "/ws"
MAX_PASSES = 4  # shown at once
PAGE_PREFIX = "/page/"

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "tarsd",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TokenNeeded(NotAllowed):
    """No token, or a wrong one: signing in helps (401), whereas a plain `NotAllowed` is final (403)."""


def split_authority(authority: str) -> tuple[str, str]:
    """Return (host name or address in lower case without brackets, port or "") of a Host header."""
    try:
        parts = urlsplit(f"//{authority}")
        return (parts.hostname or "").rstrip("."), str(parts.port or "")
    except ValueError:
        return "", ""


def host_is_ours(authority: str, arrived_at: str, allowed: tuple[str, ...]) -> bool:
    """Rule 1. `arrived_at` is the local address of the connection."""
    name, _ = split_authority(authority)
    return bool(name) and (is_loopback(name) or name == arrived_at or name in {h.lower() for h in allowed})


def origin_is_ours(origin: str | None, scheme: str, authority: str, allowed: tuple[str, ...]) -> bool:
    """Rule 2. `allowed` names may also come by https through a proxy in front of us."""
    if origin is None:
        return True
    came_by, _, rest = origin.partition("://")
    if came_by not in {"http", "https"} or _with_port(came_by, rest) is None:
        return False
    if came_by == scheme:
        return _with_port(came_by, rest) == _with_port(scheme, authority)
    name, _ = split_authority(rest)
    return came_by == "https" and rest.lower() == authority.lower() and name in {h.lower() for h in allowed}


def _with_port(scheme: str, authority: str) -> tuple[str, str] | None:
    name, port = split_authority(authority)
    return (name, port or ("443" if scheme == "https" else "80")) if name else None


def session_key(token: str) -> str:
    """Return what the cookie holds for `token`."""
    return hmac.new(token.encode(), b"tarsd page session", hashlib.sha256).hexdigest()


def _holds(request: web.Request, token: str) -> bool:
    if not token:
        return False
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(
        bearer.strip().encode(errors="surrogateescape"), token.encode()
    ):
        return True
    return hmac.compare_digest(
        request.cookies.get(COOKIE, "").encode(errors="surrogateescape"), session_key(token).encode()
    )


def _holds_pass(request: web.Request, services: ApiServices) -> bool:
    shown = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    passes = [word.strip().removeprefix(PASS_PREFIX) for word in shown if word.strip().startswith(PASS_PREFIX)]
    now = time.monotonic()
    givers = {services.passes.giver_of(secret, now) for secret in passes[:MAX_PASSES]} - {None}
    trusted = {member.node for member in services.members() if member.state is not State.REVOKED}
    return not givers.isdisjoint(trusted)


def _comes_from_a_member(request: web.Request, services: ApiServices) -> bool:
    origin = request.headers.get("Origin", "")
    return request.path == CHAT_PATH and bool(origin) and origin in member_origins(services.members())


def check(request: web.Request) -> None:
    """Apply every rule to `request`; raises `NotAllowed`."""
    settings, services = request.app[SETTINGS], request.app[SERVICES]
    local = request.transport.get_extra_info("sockname") if request.transport else None
    authority = request.headers.get("Host", "")
    if not host_is_ours(authority, str(local[0]) if local else "", settings.allowed_hosts):
        raise NotAllowed(f"Host: {authority!r} is not a name of this node; add it to api.allowed_hosts if it should be")
    upgrades = request.headers.get("Upgrade", "").lower() == "websocket"
    if upgrades or request.method not in SAFE_METHODS:
        origin = request.headers.get("Origin")
        ours = origin_is_ours(origin, request.scheme, authority, settings.allowed_hosts)
        if not ours and not (_comes_from_a_member(request, services) and _holds_pass(request, services)):
            raise NotAllowed(f"Origin: {origin!r} is not this node's own page")
    admin = _holds(request, services.admin_token)
    if request.path in ADMIN_PATHS and not admin:
        raise TokenNeeded("Authorization: this needs the node's admin token (admin.token in its data folder)")
    if is_loopback(settings.listen) or request.path in OPEN_PATHS or request.path.startswith(PAGE_PREFIX):
        return
    if request.path == CHAT_PATH and _holds_pass(request, services):
        return
    if not admin and not _holds(request, services.access_token):
        raise TokenNeeded("Authorization: this node is reached over the network and needs an access token")


def connect_sources(request: web.Request) -> str:
    """Return where the page may connect to: here, and to the chat of the other members."""
    origins = member_origins(request.app[SERVICES].members())
    return " ".join(["'self'", *sorted(origin.replace("http", "ws", 1) for origin in origins)])


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in only when every rule holds."""
    check(request)
    return await handler(request)


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that every response carries; streams too, so it runs as `on_response_prepare`."""
    response.headers.update(_HEADERS)
    if request.path == "/":
        response.headers["Content-Security-Policy"] += f"; connect-src {connect_sources(request)}"
    if request.path.startswith(("/api", "/v1")):
        response.headers["Cache-Control"] = "no-store"
