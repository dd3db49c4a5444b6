"""A server that speaks raw bytes: it reads whole HTTP requests and answers what it is told."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Reply = Callable[[bytes, int], Awaitable[bytes | None]]
"""(request with headers, number of the request from 1) -> bytes to write; ``None`` closes without."""


class RawServer:
    """`requests` are the whole requests read; `received` counts every byte."""

    def __init__(self, reply: Reply, tls: ssl.SSLContext | None = None) -> None:
        self._reply = reply
        self._tls = tls
        self.requests: list[bytes] = []
        self.received = 0
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/portal"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while request := await self._read(reader):
                self.requests.append(request)
                answer = await self._reply(request, len(self.requests))
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        held = b""
        while True:
            head, separator, body = held.partition(b"\r\n\r\n")
            if separator:
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                if len(body) >= (int(length[1]) if length else 0):
                    return held
            more = await reader.read(65_536)
            if not more:
                return b""
            self.received += len(more)
            held += more


def http(body: bytes, status: str = "200 OK", headers: str = "Content-Type: text/xml") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def message_id(request: bytes) -> str:
    """The X-Road message id of a request."""
    found = re.search(rb"<xrd:id[^>]*>([^<]+)</xrd:id>", request)
    assert found is not None
    return found[1].decode()


def envelope(request: bytes, body: str, *, header: str | None = None) -> bytes:
    """A SOAP answer that echoes the request's message id, unless `header` is given."""
    if header is None:
        header = '<x:id xmlns:x="http://x-road.eu/xsd/xroad.xsd">' + message_id(request) + "</x:id>"
    return (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>"
    ).encode()


DONE = (
    '<p:DongBoHoSoMCResponse xmlns:p="urn:vn:dvcqg:adapter:1"><p:error_code>0</p:error_code>'
    "<p:message>Cập nhật thành công</p:message></p:DongBoHoSoMCResponse>"
)


async def done(request: bytes, number: int) -> bytes | None:
    """A yes to an update."""
    return http(envelope(request, DONE))
