"""Who may ask: this machine alone, or who has the token.

Without a token a server listens on loopback alone, and answers only requests that name it so: a
page elsewhere whose name was made to point here (DNS rebinding) gets nothing. With one, it is asked
for once, in the address; a cookie remembers it, which no other site can send.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

COOKIE = "tidepick"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; img-src 'self' data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "tidepick",
}


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def gate(token: str | None) -> Middleware:
    """The middleware that lets a request through or refuses it, and sets HEADERS."""

    @web.middleware
    async def let_through(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = _refusal(request, token)
        if response is None:
            response = _welcome(request, token)
        if response is None:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.json_response({"error": error.reason}, status=error.status)
        response.headers.update(HEADERS)
        return response

    return let_through


def _refusal(request: web.Request, token: str | None) -> web.StreamResponse | None:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return _no(403, "this request comes from another site")
    if token is None:
        named = urlsplit(f"//{request.host}").hostname or ""
        return None if is_loopback(named) else _no(403, f"{named!r} is not this machine's own name")
    given = request.query.get("token") or request.cookies.get(COOKIE) or ""
    if hmac.compare_digest(given.encode(), token.encode()):
        return None
    return _no(401, "open the address with ?token=... once, as the server was started with it")


def _welcome(request: web.Request, token: str | None) -> web.StreamResponse | None:
    """Move a token from the address, which is kept and shown, into a cookie."""
    if token is None or "token" not in request.query:
        return None
    response = web.Response(status=303, headers={"Location": request.path})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
    return response


def _no(status: int, why: str) -> web.Response:
    return web.json_response({"error": why}, status=status)
