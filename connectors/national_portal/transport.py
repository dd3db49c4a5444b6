"""HTTP under the SOAP client: aiohttp, one POST per call, never repeated.

aiohttp repeats a request by itself only for idempotent methods; a POST whose connection is lost raises, and
a body is written once whatever the method is.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp
from aiohttp.payload import Payload
from pydantic import AnyHttpUrl

from connectors.errors import MisconfiguredError
from connectors.national_portal.faults import Trouble
from connectors.protocols import Intent
from monitoring.crash_points import CrashPoint, crash_point
from schemas.reasons import Reason

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from multidict import CIMultiDictProxy

_CHUNK = 65_536
XML = "text/xml; charset=utf-8"


class HttpSettings(Protocol):
    """What the transport needs of a connector's settings."""

    @property
    def address(self) -> AnyHttpUrl: ...
    @property
    def proxy(self) -> AnyHttpUrl | None: ...
    @property
    def connection_limit(self) -> int: ...
    @property
    def idle_connection_seconds(self) -> float: ...
    @property
    def connect_timeout_seconds(self) -> float: ...
    @property
    def read_timeout_seconds(self) -> float: ...
    @property
    def total_timeout_seconds(self) -> float: ...
    @property
    def answer_limit_bytes(self) -> int: ...
    @property
    def client_certificate(self) -> Path | None: ...
    @property
    def client_key(self) -> Path | None: ...
    @property
    def ca_certificates(self) -> Path | None: ...


@dataclass(slots=True, kw_only=True)
class Call:
    """What is known of one call while it is under way."""

    message_id: str
    intent: Intent | None
    issue: str | None = None
    sent: bool = False  # a byte may have been written
    request: bytes | None = None
    answer: bytes | None = None


class _NotSent(Exception):
    """Raised inside aiohttp's writer, so that it closes the connection without writing."""


class _Body(Payload):
    """A request body that looks at its intent as the last act before the first byte.

    aiohttp holds the headers back until the body is written and sends both in one go, after the
    connection is there; between the check and `write` nothing is awaited.
    """

    _autoclose = True

    def __init__(
        self, value: bytes, call: Call, clock: Callable[[], float], content_type: str
    ) -> None:
        super().__init__(value, content_type=content_type)
        self._size = len(value)
        self._call = call
        self._clock = clock

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        text: str = self._value.decode(encoding, errors)
        return text

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        call = self._call
        if call.sent or (call.intent is not None and call.intent.expired(self._clock())):
            raise _NotSent
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing():
            raise _NotSent
        call.sent = True
        await writer.write(self._value)
        if call.intent is not None:
            crash_point(CrashPoint.AFTER_WRITE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """Status, headers and the whole body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class HttpTransport:
    """Connections to one address."""

    def __init__(self, settings: HttpSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._address = str(settings.address)
        self._proxy = str(settings.proxy) if settings.proxy else None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Raises `MisconfiguredError` when a certificate file cannot be used."""
        if self._session is not None:
            return
        settings = self._settings
        connector = aiohttp.TCPConnector(
            limit=settings.connection_limit,
            keepalive_timeout=settings.idle_connection_seconds,
            ssl=_tls(settings),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"User-Agent": "thongsuot"},
            timeout=aiohttp.ClientTimeout(
                total=settings.total_timeout_seconds,
                sock_connect=settings.connect_timeout_seconds,
                sock_read=settings.read_timeout_seconds,
                ceil_threshold=settings.total_timeout_seconds + 1,  # no rounding to whole seconds
            ),
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, body: bytes, headers: Mapping[str, str], call: Call) -> HttpAnswer:
        """One POST of XML to the settings' address. Raises as `request` does."""
        return await self.request("POST", self._address, headers, call, body=body)

    async def request(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str],
        call: Call,
        *,
        body: bytes = b"",
        content_type: str = XML,
    ) -> HttpAnswer:
        """One request. Raises `Trouble` or whatever aiohttp raises; `call.sent` tells them apart.

        A question without a body has an empty one, so that it too is written once.
        """
        if self._session is None:
            raise Trouble(Reason.NOT_SENT, "the connector is closed")
        async with self._session.request(
            method,
            address,
            data=_Body(body, call, self._clock, content_type),
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
        ) as response:
            answer = await self._read(response)
            call.answer = answer
            return HttpAnswer(status=response.status, headers=response.headers, body=answer)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.answer_limit_bytes
        chunks: list[bytes] = []
        length = 0
        while chunk := await response.content.read(_CHUNK):
            length += len(chunk)
            if length > limit:
                response.close()
                raise Trouble(Reason.UNPARSEABLE_ANSWER, f"the answer exceeds limit={limit} bytes")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _tls(settings: HttpSettings) -> ssl.SSLContext | bool:
    if settings.address.scheme != "https":
        return True
    try:
        context = ssl.create_default_context(cafile=settings.ca_certificates)
        if settings.client_certificate is not None:
            # An empty password: an encrypted key fails here instead of asking on the terminal.
            context.load_cert_chain(settings.client_certificate, settings.client_key, "")
    except OSError as exc:  # ssl.SSLError is one
        raise MisconfiguredError(
            Reason.TLS_FAILURE,
            f"exception={type(exc).__name__}: check the files in client_certificate, client_key and "
            "ca_certificates",
        ) from None
    return context
