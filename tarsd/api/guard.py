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
4. What changes the node or the cluster needs a token with that scope everywhere, on loopback too (`scopes`). The admin
   token opens all; the access token opens what needs no token on loopback.
5. A named token opens the paths of its scopes and counts against its rates, on loopback too: 403 names the scope that
   is missing, 429 the rate that is used up. What has a named token's form and is none any more (removed, expired, its
   file cannot be read) is refused on loopback too: who shows it believes to be bound by it. Any other unknown word is
   let through there, since clients of OpenAI's API always send one.
6. Tokens come as `Authorization: Bearer`, `x-api-key`, the WebSocket subprotocol `tarsd.token.<token>` or the page's
   cookie, and never from a URL, where logs and histories would keep them. They are compared in constant time or found
   by their hash.

The page signs in once: its cookie holds a key derived from the token, so the token itself is not kept by a browser.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from tarsd.api.allowance import CURRENT, Allowance
from tarsd.api.messages import PASS_PREFIX, TOKEN_PREFIX
from tarsd.api.peers import is_loopback, member_origins
from tarsd.api.scopes import OPEN_PATHS, Needs, needs_of, opens
from tarsd.api.services import SERVICES, SETTINGS, ApiServices
from tarsd.api.token_book import TOKENS
from tarsd.api.tokens import PREFIX, Token, session_key
from tarsd.errors import NotAllowed
from tarsd.gossip.member import State

COOKIE = "tarsd_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHAT_PATH = "/ws"
MAX_PASSES = 4  # shown at once; as many tokens

HOLDER = web.RequestKey("holder", Token)  # whose named token let the request in
IS_ADMIN = web.RequestKey("is_admin", bool)
ALLOWANCE = web.RequestKey("allowance", Allowance)

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


def shown_words(request: web.Request) -> list[str]:
    """Return the tokens that a request shows, as its programs show them (rule 6); its cookie is another matter."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    words = [bearer.strip()] if scheme.lower() == "bearer" else []
    words.append(request.headers.get("x-api-key", "").strip())
    return [word for word in [*words, *_subprotocols(request, TOKEN_PREFIX)] if word]


def _subprotocols(request: web.Request, prefix: str) -> list[str]:
    offered = map(str.strip, request.headers.get("Sec-WebSocket-Protocol", "").split(","))
    return [word.removeprefix(prefix) for word in offered if word.startswith(prefix)][:MAX_PASSES]


def is_secret(word: str, secret: str) -> bool:
    """Compare in constant time; an empty secret is nobody's."""
    return bool(secret) and hmac.compare_digest(word.encode(errors="surrogateescape"), secret.encode())


def _holds(request: web.Request, words: list[str], token: str) -> bool:
    if any(is_secret(word, token) for word in words):
        return True
    return bool(token) and is_secret(request.cookies.get(COOKIE, ""), session_key(token))


def _named(request: web.Request, words: list[str]) -> Token | None:
    book, now = request.app[TOKENS], time.monotonic()
    cookie = request.cookies.get(COOKIE, "")
    found = (book.find(word, now) for word in [*words, *([cookie] if cookie else [])])
    return next((token for token in found if token is not None), None)


def _holds_pass(request: web.Request, services: ApiServices) -> bool:
    now = time.monotonic()
    givers = {services.passes.giver_of(secret, now) for secret in _subprotocols(request, PASS_PREFIX)} - {None}
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
    path = _path_of(request)
    if path not in OPEN_PATHS:
        _check_tokens(request, path, needs_of(path, request.method))


def _path_of(request: web.Request) -> str:
    """Return the path as its route is written; a path of no route as it came."""
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical


def _check_tokens(request: web.Request, path: str, needs: Needs) -> None:
    """Apply rules 3 to 6."""
    settings, services = request.app[SETTINGS], request.app[SERVICES]
    words = shown_words(request)
    if _holds(request, words, services.admin_token):
        request[IS_ADMIN] = True
        return
    token = _named(request, words)
    if token is not None and not token.has_expired(time.time()):
        _let_in(request, path, needs, token)
        return
    if path == CHAT_PATH and _holds_pass(request, services):
        return
    if token is not None or any(word.startswith(PREFIX) for word in words):
        raise TokenNeeded(f"Authorization: {why_not(request, token)}")
    if needs.always:
        scopes = " or ".join(sorted(needs.scopes))
        raise TokenNeeded(
            f"Authorization: this needs the node's admin token (admin.token in its data folder) or a token of scope "
            f"{scopes}"
        )
    if not is_loopback(settings.listen) and not _holds(request, words, services.access_token):
        raise TokenNeeded("Authorization: this node is reached over the network and needs an access token")


def _let_in(request: web.Request, path: str, needs: Needs, token: Token) -> None:
    if not opens(token.scopes, needs):
        wanted = " or ".join(sorted(needs.scopes))
        raise NotAllowed(f"token {token.name!r}: this needs scope {wanted}; it has {', '.join(sorted(token.scopes))}")
    allowance = request.app[TOKENS].allowance(token, time.monotonic())
    request[HOLDER], request[ALLOWANCE] = token, allowance
    CURRENT.set(allowance)
    if path != CHAT_PATH:  # there each question counts, not the connection
        allowance.admit()


def why_not(request: web.Request, token: Token | None) -> str:
    """Return why a word of a named token's form opens nothing; `token` is what it stands for, if known."""
    if token is not None:
        return f"token {token.name!r} has expired; make a new one with `tarsd token add`"
    if request.app[TOKENS].problem:
        return "no named token can be checked now: this node cannot read its tokens.json"
    return "this token is unknown here, or was removed (`tarsd token list` shows those there are)"


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
    if ALLOWANCE in request:
        response.headers.update(request[ALLOWANCE].headers())
