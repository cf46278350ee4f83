"""A server in this event loop that a load generator's phone can call: it answers and says what a test tells it."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Self

import orjson

from simulator.lean_websocket import LeanWebsocket

PATIENCE = 10.0
OVERFLOW = "<Response><Say>All our lines are busy.</Say><Hangup/></Response>"


class Server:
    """A webhook that answers what it is told, and a media socket that says what it is told."""

    def __init__(self, talk: Callable[["Media"], Awaitable[None]] | None = None) -> None:
        self.twiml: Callable[[str], str | int] = lambda path: self.connect()
        """What a path is answered with: a document, or a status."""
        self.asked: list[bytes] = []
        self.media: list[Media] = []
        self._talk = talk

    def connect(self) -> str:
        stream = f'<Stream url="ws://127.0.0.1:{self._media_port}/"/>'
        return f'<Response><Connect action="/ended">{stream}</Connect></Response>'

    async def __aenter__(self) -> Self:
        self._http = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        self._sockets = await loop.create_server(lambda: self._accept().socket, "127.0.0.1", 0)
        self._media_port = self._sockets.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._http.sockets[0].getsockname()[1]}/twiml"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for media in self.media:
            media.task.cancel()
            media.socket.abort()
        for server in (self._http, self._sockets):
            server.close()
            await server.wait_closed()

    def _accept(self) -> "Media":
        self.media.append(media := Media(self._talk))
        return media

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        answer = self.twiml(self.asked[-1].split()[1].decode())
        status, body = (answer, "") if isinstance(answer, int) else (200, answer)
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()


class Media:
    """The server's end of a stream."""

    def __init__(self, talk: Callable[["Media"], Awaitable[None]] | None) -> None:
        self.socket = LeanWebsocket(self._receive, lambda code: None)
        self.received: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(talk))

    async def _run(self, talk: Callable[["Media"], Awaitable[None]] | None) -> None:
        await self.until("start")
        if talk is not None:
            await talk(self)

    def _receive(self, text: bytes) -> None:
        self.received.append(orjson.loads(text))
        self._changed.set()

    async def until(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not (found := [each for each in self.received if each["event"] == event]):
                self._changed.clear()
                await self._changed.wait()
        return found[0]

    async def until_loud(self) -> None:
        def loud(each: dict[str, Any]) -> bool:
            return each["event"] == "media" and not each["media"]["payload"].startswith("////")

        async with asyncio.timeout(PATIENCE):
            while not any(map(loud, self.received)):
                self._changed.clear()
                await self._changed.wait()

    def say(self, ulaw: bytes) -> None:
        sid = self.received[1]["streamSid"]
        payload = base64.b64encode(ulaw).decode()
        self.socket.send(orjson.dumps({"event": "media", "streamSid": sid, "media": {"payload": payload}}))

    def mark(self, name: str) -> None:
        sid = self.received[1]["streamSid"]
        self.socket.send(orjson.dumps({"event": "mark", "streamSid": sid, "mark": {"name": name}}))
