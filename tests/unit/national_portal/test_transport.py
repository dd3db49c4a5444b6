"""What leaves, and when: nothing after the intent is too old, nothing twice, not a byte too many back."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.national_portal.client import Answer, PortalClient
from connectors.national_portal.dialect import load_dialect
from connectors.protocols import Intent
from schemas.reasons import Reason
from tests.unit.national_portal import samples
from tests.unit.national_portal.certificates import Certificates, certificates
from tests.unit.national_portal.raw_server import DONE, RawServer, done, envelope, http

FILL = {"session": "s", "agency": "H12", "code": samples.CODE}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def client(
    url: str, clock: Callable[[], float] | None = None, **changes: Any
) -> AsyncIterator[Callable[..., Coroutine[Any, Any, Answer]]]:
    """A function that makes one update."""
    portal = PortalClient(
        samples.settings(url, **changes), load_dialect("adapter"), clock or Clock()
    )
    await portal.open()

    async def update(send_by: float = 2.0, number: int = 1) -> Answer:
        record = samples.NATIONAL_PORTAL.state_request(samples.event(), samples.codes()).body
        granted = Intent(attempt_id=f"a{number}", noticed_at=100.0, send_by=send_by)
        return await portal.call(
            "update",
            FILL,
            [record],
            message_id=granted.attempt_id,
            intent=granted,
            issue=samples.CODE,
        )

    try:
        yield update
    finally:
        await portal.close()


async def until(condition: Callable[[], bool]) -> None:
    """Poll, at most five seconds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def failure(
    reply: Callable[[bytes, int], Awaitable[bytes | None]], **changes: Any
) -> DeliveryError:
    """The error of one update answered by `reply`."""
    async with RawServer(reply) as server, client(server.url, **changes) as update:
        with pytest.raises(DeliveryError) as failed:
            await update()
    return failed.value


async def failure_of(answer: bytes) -> DeliveryError:
    async def reply(request: bytes, number: int) -> bytes:
        return answer

    return await failure(reply)


# --- the last act before the first byte ------------------------------------------------------------


async def test_a_slow_tls_handshake_outlives_the_intent_and_no_byte_leaves(
    certs: Certificates,
) -> None:
    clock = Clock()
    release = asyncio.Event()
    held = asyncio.Event()
    open_relays = 0

    async with RawServer(done, tls=certs.server) as server:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal open_relays
            open_relays += 1
            held.set()
            await release.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            open_relays -= 1

        front = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = front.sockets[0].getsockname()[1]
        url = f"https://127.0.0.1:{port}/portal"
        async with client(url, clock, ca_certificates=certs.ca) as update:
            call = asyncio.create_task(update())
            await held.wait()  # connected, the handshake hangs
            clock.now += 2.0
            release.set()
            with pytest.raises(TransientError) as late:
                await call
            assert late.value.reason is Reason.NOT_SENT
            await until(lambda: server.connections == 1)  # the handshake was completed
            assert server.received == 0
            clock.now -= 2.0
            await update()  # the same way works for an intent that is young
            assert server.received > 0
        await until(lambda: open_relays == 0)
        front.close()
        await front.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_waiting_for_a_kept_connection_outlives_the_intent_and_no_byte_leaves() -> None:
    clock = Clock()
    release = asyncio.Event()

    async def reply(request: bytes, number: int) -> bytes:
        if number == 1:
            await release.wait()
        return http(envelope(request, DONE))

    async with (
        RawServer(reply) as server,
        client(server.url, clock, connection_limit=1) as update,
    ):
        first = asyncio.create_task(update(number=1))
        await until(lambda: len(server.requests) == 1)
        second = asyncio.create_task(update(number=2))
        await asyncio.sleep(0)
        clock.now += 2.0
        release.set()
        await first
        with pytest.raises(TransientError) as late:
            await second
        assert late.value.reason is Reason.NOT_SENT
        assert len(server.requests) == 1
        assert server.received == len(server.requests[0])


# --- never twice -----------------------------------------------------------------------------------


async def test_a_kept_connection_lost_after_the_request_is_unknown_and_not_repeated() -> None:
    async def reply(request: bytes, number: int) -> bytes | None:
        return http(envelope(request, DONE)) if number == 1 else None

    async with RawServer(reply) as server, client(server.url) as update:
        await update(number=1)
        with pytest.raises(OutcomeUnknown) as lost:
            await update(number=2)
        assert lost.value.reason is Reason.CONNECTION_LOST
        assert len(server.requests) == 2
        assert server.connections == 1  # nobody tried again behind our back


async def test_a_redirect_is_not_followed() -> None:
    failed = await failure_of(http(b"", "307 Temporary Redirect", "Location: /elsewhere"))
    assert isinstance(failed, RejectedError)
    assert failed.reason is Reason.CONTRACT_MISMATCH


# --- what comes back -------------------------------------------------------------------------------


async def test_an_answer_beyond_the_limit_is_not_read_to_its_end() -> None:
    async def reply(request: bytes, number: int) -> bytes:
        return http(b"<a>" + b"x" * 20_000_000)

    failed = await failure(reply, answer_limit_bytes=2048)
    assert isinstance(failed, OutcomeUnknown)
    assert failed.reason is Reason.UNPARSEABLE_ANSWER
    assert "limit=2048" in failed.detail


async def test_a_compressed_answer_counts_unpacked() -> None:
    packed = gzip.compress(b"<a>" + b"x" * 5_000_000)
    headers = "Content-Type: text/xml\r\nContent-Encoding: gzip"

    async def reply(request: bytes, number: int) -> bytes:
        return http(packed, headers=headers)

    failed = await failure(reply, answer_limit_bytes=4096)
    assert failed.reason is Reason.UNPARSEABLE_ANSWER
    assert "limit=4096" in failed.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><a/>',
        b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"/>',
    ],
)
async def test_an_answer_that_is_no_envelope_is_unknown(body: bytes) -> None:
    failed = await failure_of(http(body))
    assert isinstance(failed, OutcomeUnknown)
    assert failed.reason in (Reason.UNPARSEABLE_ANSWER, Reason.FOREIGN_ANSWER)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", Reason.UNPARSEABLE_ANSWER),
        ("<p:DongBoHoSoMCResponse xmlns:p='urn:other'/>", Reason.UNPARSEABLE_ANSWER),
        (DONE.replace("DongBoHoSoMC", "TraCuuHoSo"), Reason.UNPARSEABLE_ANSWER),
        (DONE.replace("p:message", "p:surprise"), Reason.UNPARSEABLE_ANSWER),
    ],
)
async def test_a_body_that_is_not_the_answer_is_unknown(body: str, reason: Reason) -> None:
    async def reply(request: bytes, number: int) -> bytes:
        return http(envelope(request, body))

    failed = await failure(reply)
    assert isinstance(failed, OutcomeUnknown)
    assert failed.reason is reason


@pytest.mark.parametrize(
    "header",
    ["", '<x:id xmlns:x="http://x-road.eu/xsd/xroad.xsd">somebody-else</x:id>'],
)
async def test_an_answer_without_our_message_id_is_foreign(header: str) -> None:
    async def reply(request: bytes, number: int) -> bytes:
        return http(envelope(request, DONE, header=header))

    failed = await failure(reply)
    assert isinstance(failed, OutcomeUnknown)
    assert failed.reason is Reason.FOREIGN_ANSWER


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("e:Server", OutcomeUnknown, Reason.SERVER_FAULT),
        ("SOAP-ENV:Server", OutcomeUnknown, Reason.SERVER_FAULT),
        ("Receiver", OutcomeUnknown, Reason.SERVER_FAULT),
        ("e:Client", RejectedError, Reason.CONTRACT_MISMATCH),
        ("Client.InvalidQuery", RejectedError, Reason.CONTRACT_MISMATCH),
        ("Server.ServerProxy.AccessDenied", MisconfiguredError, Reason.ACCESS_DENIED),
        ("", OutcomeUnknown, Reason.SERVER_FAULT),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_a_fault_is_told_by_its_code_whatever_the_prefix_and_status(
    code: str, kind: type[DeliveryError], reason: Reason, status: str
) -> None:
    fault = (
        f"<e:Fault><faultcode>{code}</faultcode>"
        f"<faultstring>{samples.PERSON.owner_name}</faultstring></e:Fault>"
    )

    async def reply(request: bytes, number: int) -> bytes:
        return http(envelope(request, fault), status)

    failed = await failure(reply)
    assert type(failed) is kind
    assert failed.reason is reason
    assert str(samples.PERSON.owner_name) not in str(failed)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "reason", "wait"),
    [
        ("429 Too Many", "Retry-After: 7", TransientError, Reason.RATE_LIMITED, 7.0),
        ("429 Too Many", "X: y", TransientError, Reason.RATE_LIMITED, None),
        ("503 Down", "Retry-After: 120", TransientError, Reason.TARGET_UNAVAILABLE, 120.0),
        (
            "503 Down",
            "Date: Mon, 23 Nov 2026 10:00:00 GMT\r\nRetry-After: Mon, 23 Nov 2026 10:05:00 GMT",
            TransientError,
            Reason.TARGET_UNAVAILABLE,
            300.0,
        ),
        ("503 Down", "X: y", OutcomeUnknown, Reason.GATEWAY_ERROR, None),
        ("504 Slow", "Content-Type: text/html", OutcomeUnknown, Reason.GATEWAY_ERROR, None),
        ("500 Oops", "Content-Type: text/html", OutcomeUnknown, Reason.SERVER_FAULT, None),
        ("401 No", "X: y", MisconfiguredError, Reason.ACCESS_DENIED, None),
        ("403 No", "Content-Type: text/xml", MisconfiguredError, Reason.ACCESS_DENIED, None),
        ("404 No", "X: y", RejectedError, Reason.CONTRACT_MISMATCH, None),
        ("408 Slow", "X: y", OutcomeUnknown, Reason.TIMEOUT, None),
        ("200 OK", "Content-Type: text/html", OutcomeUnknown, Reason.UNPARSEABLE_ANSWER, None),
        ("200 OK", "X: y", OutcomeUnknown, Reason.UNPARSEABLE_ANSWER, None),
    ],
)
async def test_the_http_status_comes_first(
    status: str, headers: str, kind: type[DeliveryError], reason: Reason, wait: float | None
) -> None:
    failed = await failure_of(http(b"<html/>", status, headers))
    assert type(failed) is kind
    assert failed.reason is reason
    assert getattr(failed, "retry_after", None) == wait


async def test_bytes_that_are_no_http_are_unknown() -> None:
    failed = await failure_of(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    assert isinstance(failed, OutcomeUnknown)


# --- connecting ------------------------------------------------------------------------------------


async def test_an_untrusted_certificate_is_a_tls_failure(certs: Certificates) -> None:
    async with RawServer(done, tls=certs.server) as server, client(server.url) as update:
        with pytest.raises(TransientError) as failed:
            await update()
    assert failed.value.reason is Reason.TLS_FAILURE


async def test_a_client_certificate_is_shown_when_asked_for(certs: Certificates) -> None:
    async with RawServer(done, tls=certs.server_that_asks) as server:
        async with client(
            server.url,
            ca_certificates=certs.ca,
            client_certificate=certs.client_certificate,
            client_key=certs.client_key,
        ) as update:
            await update()
        assert len(server.requests) == 1
        async with client(server.url, ca_certificates=certs.ca) as update:
            with pytest.raises(DeliveryError):
                await update()
        assert len(server.requests) == 1


async def test_a_certificate_file_that_is_none_names_the_settings(certs: Certificates) -> None:
    portal = PortalClient(
        samples.settings("https://127.0.0.1:1/", client_certificate=certs.client_key),
        load_dialect("adapter"),
        Clock(),
    )
    with pytest.raises(MisconfiguredError, match="client_certificate") as failed:
        await portal.open()
    assert failed.value.reason is Reason.TLS_FAILURE


async def test_a_name_that_does_not_exist_is_a_dns_failure() -> None:
    async with client("http://portal.invalid/x") as update:
        with pytest.raises(TransientError) as failed:
            await update()
    assert failed.value.reason is Reason.DNS_FAILURE


async def test_a_handshake_that_never_ends_is_a_connect_timeout() -> None:
    async def silent(request: bytes, number: int) -> bytes | None:
        return None

    async with RawServer(silent) as server:
        url = server.url.replace("http:", "https:")
        async with client(url, connect_timeout_seconds=0.1) as update:
            with pytest.raises(TransientError) as failed:
                await update()
    assert failed.value.reason is Reason.CONNECT_TIMEOUT


async def test_calls_go_through_the_proxy() -> None:
    async with (
        RawServer(done) as proxy,
        client("http://portal.invalid/x", proxy=f"http://127.0.0.1:{proxy.port}") as update,
    ):
        await update()
        assert proxy.requests[0].startswith(b"POST http://portal.invalid/x HTTP/1.1")


async def test_a_closed_client_sends_nothing() -> None:
    async with RawServer(done) as server:
        async with client(server.url) as update:
            pass
        with pytest.raises(TransientError) as failed:
            await update()
        assert failed.value.reason is Reason.NOT_SENT
        assert server.received == 0


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))
