"""Who may have the page: whoever has its token, from the page's own address."""

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

NAMES = ("127.0.0.1", "localhost")
REFUSAL = (
    "This page answers to the address that `jepa-sim explore` printed, with its token, alone.\n"
)


class Guard:
    """Around an ASGI app, requests and websockets: 403 to all that is not the page's own.

    Host must be the page's, so that no other site reaches it by a name of its own for this machine.
    Origin, where a browser sends one, must be the page's too: cookies go to all ports of a machine,
    and so to this page from another one. The token comes as `?token=…`, as in the address that is
    printed, or in the cookie that the first such request sets.
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
        return secrets.compare_digest(found.encode(), self.token.encode())

    def _with_cookie(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                MutableHeaders(scope=message).append("Set-Cookie", value)
            await send(message)

        return sent
