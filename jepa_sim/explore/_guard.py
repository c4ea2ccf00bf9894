"""Guard the page: it answers only to its own address, and with its token."""

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

NAMES = ("127.0.0.1", "localhost")
REFUSAL = "This page opens only at the address that `jepa-sim explore` printed, with its token.\n"


class Guard:
    """Wraps an ASGI app: requests and websockets that are not the page's own get 403.

    The Host header must be the page's, else another site could reach the page by a domain name
    that it directs to this machine. The Origin header, where a browser sends one, must be the
    page's too: a browser sends cookies to all ports of a machine, so that a page of another port
    could use the cookie. The token comes as `?token=…`, as in the address that is printed, or in
    the cookie that the first such request sets.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str):
        self.app, self.token, self.cookie = app, token, f"jepa_sim_{port}"
        self.hosts = {f"{name}:{port}" for name in NAMES}
        if port == 80:  # browsers leave it out
            self.hosts |= {*NAMES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        by_address = self._is_token(asked.query_params.get("token", ""))
        by_cookie = self._is_token(asked.cookies.get(self.cookie, ""))
        if self._is_own(asked) and (by_address or by_cookie):
            await self.app(scope, receive, self._with_cookie(send) if by_address else send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)  # before it is accepted: 403
        else:
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send)

    def _is_own(self, asked: HTTPConnection) -> bool:
        origins = {f"http://{host}" for host in self.hosts}
        host = asked.headers.get("host", "").lower()
        return host in self.hosts and set(asked.headers.getlist("origin")) <= origins

    def _is_token(self, found: str) -> bool:
        # takes equally long wherever the two differ, so its time reveals nothing about the token
        return secrets.compare_digest(found.encode(), self.token.encode())

    def _with_cookie(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                MutableHeaders(scope=message).append("Set-Cookie", value)
            await send(message)

        return sent
