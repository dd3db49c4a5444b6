"""Listens for what other systems hand in over HTTP: `POST /v1/observations`, described by `GET /openapi.json`.

What a list of observations is worth is decided in `observations_intake.py`; here is what HTTP adds: bounds of
length, time and number, and an answer in both languages to whatever comes. It speaks plain HTTP: TLS, and how
long a client may take for its headers, are the reverse proxy's. A list is signed, so that a proxy that is not
believed can drop it but not change it; and it holds no personal data.

Nothing is ever half done: a list is one transaction of the ledger. Where its end is not known (503) the same
list may be sent again, because one that is there already is no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from monitoring.events import Events
from monitoring.metrics import Flow, RequestOutcome
from monitoring.rates.catalogue import Words
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.signatures import HEADER
from streams.observations_intake import NOT_SIGNED, NOT_TAKEN, SYSTEM_HEADER, TAKEN, Answer
from streams.settings import ReceiveSettings

PATH = "/v1/observations"
DESCRIPTION = "/openapi.json"

_TURN_SECONDS = 1.0
_SOON, _LATER = 1, 30  # seconds after which a request may come again

AnswerTo = Callable[[str | None, str | None, bytes], Awaitable[Answer]]
"""`ObservationsIntake.answer`: system, signature, body."""

_OUTCOMES: Mapping[int, RequestOutcome] = {
    TAKEN: RequestOutcome.TAKEN,
    NOT_SIGNED: RequestOutcome.NOT_SIGNED,
    NOT_TAKEN: RequestOutcome.NOT_TAKEN,
}


@dataclass(frozen=True, slots=True)
class _Told:
    """What is answered instead of something about the content."""

    status: int
    reason: str
    words: Words
    outcome: RequestOutcome = RequestOutcome.UNFIT
    headers: Mapping[str, str] = field(default_factory=dict)


class _Unanswerable(Exception):
    def __init__(self, told: _Told) -> None:
        super().__init__(told.reason)
        self.told = told


class Receiver:
    """Serves one host and port from `open` to `close`; `port` says which one it got.

    As a part of the worker it runs until `stop`, and ends when the requests in hand are answered.
    """

    def __init__(self, answer: AnswerTo, *, settings: ReceiveSettings, events: Events) -> None:
        self._answer = answer
        self._settings = settings
        self._events = events
        self._description = description()
        self._in_hand = 0
        self._stop = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    async def open(self) -> None:
        """Begin to serve. Raises `OSError` when the port is taken by another program."""
        assert self._settings.port is not None  # or nobody asked for a receiver
        app = web.Application(
            middlewares=[self._always_answered], client_max_size=self._settings.most_bytes
        )
        app.router.add_post(PATH, self._observations)
        app.router.add_get(DESCRIPTION, self._describe)
        runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,  # what is signed are the bytes as they travel
            keepalive_timeout=30.0,
            lingering_time=self._settings.timeout_seconds,
            shutdown_timeout=self._settings.timeout_seconds,
        )
        await runner.setup()
        try:
            await web.TCPSite(
                runner, self._settings.host, self._settings.port, reuse_port=True
            ).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """Stop serving, after the requests in hand. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`."""
        self._events.flow_started(flow=Flow.RECEIVE)
        while not self._stop.is_set():
            self.beats += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _TURN_SECONDS)
        await self.close()
        self._events.flow_stopped(flow=Flow.RECEIVE, reason="asked to stop")

    # --- what is answered

    async def _describe(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type="application/json")

    async def _observations(self, request: web.Request) -> web.Response:
        if self._in_hand >= self._settings.at_once:
            raise _Unanswerable(_BUSY)
        self._in_hand += 1
        try:
            body = await self._body(request)
            found = await self._found(request, body)
        finally:
            self._in_hand -= 1
        self._note(found)
        return _json(found.status, found.content)

    async def _body(self, request: web.Request) -> bytes:
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            raise _Unanswerable(_KIND)
        if (request.content_length or 0) > self._settings.most_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await request.read()
        except TimeoutError:
            raise _Unanswerable(_SLOW) from None
        except web.HTTPRequestEntityTooLarge:
            raise self._too_large() from None
        except (ConnectionError, web.RequestPayloadError):
            raise _Unanswerable(_INCOMPLETE) from None

    async def _found(self, request: web.Request, body: bytes) -> Answer:
        headers = request.headers
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await self._answer(headers.get(SYSTEM_HEADER), headers.get(HEADER), body)
        except (LedgerUnavailable, LedgerMismatch, TimeoutError):
            raise _Unanswerable(_AWAY) from None

    def _too_large(self) -> _Unanswerable:
        most = self._settings.most_bytes
        words = Words(
            vi=f"nội dung dài quá {most} byte; chia thành nhiều lần gửi",
            en=f"the body is longer than {most} bytes; send it in several lists",
        )
        return _Unanswerable(_Told(413, "too_large", words))

    def _note(self, found: Answer) -> None:
        faults, received = found.content.get("faults", ()), found.content.get("received", 0)
        assert isinstance(faults, Collection)
        assert isinstance(received, int)
        self._events.request_answered(
            outcome=_OUTCOMES[found.status],
            reason=str(found.content.get("reason", "")),
            taken=received,
            refused=len({fault["item"] for fault in faults}),
        )

    @web.middleware
    async def _always_answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whatever comes is answered in JSON, counted, and told in both languages."""
        try:
            return await handler(request)
        except _Unanswerable as error:
            told = error.told
        except web.HTTPMethodNotAllowed as error:
            told = _Told(405, "method", _WHERE, headers={"Allow": error.headers["Allow"]})
        except web.HTTPException as error:
            told = _Told(error.status, "path", _WHERE)
        except Exception as error:
            self._events.request_answered(outcome=_FAILED.outcome, reason=type(error).__name__)
            return _answered(_FAILED)
        self._events.request_answered(outcome=told.outcome, reason=told.reason)
        return _answered(told)


def description() -> bytes:
    """The OpenAPI document of the intake."""
    return (resources.files(__package__) / "receive_openapi.json").read_bytes()


def _json(
    status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(dict(content)),
        content_type="application/json",
        headers=headers,
    )


def _answered(told: _Told) -> web.Response:
    content = {"reason": told.reason, "vi": told.words.vi, "en": told.words.en}
    return _json(told.status, content, told.headers)


_WHERE = Words(
    vi=f"gửi bằng POST tới {PATH}; mô tả ở GET {DESCRIPTION}",
    en=f"send with POST to {PATH}; described by GET {DESCRIPTION}",
)
_FAILED = _Told(
    500,
    "internal_error",
    Words(
        vi="lỗi của trục tích hợp; báo cho đơn vị vận hành",
        en="a mistake of the hub; tell its operators",
    ),
    RequestOutcome.FAILED,
)
_KIND = _Told(
    415,
    "media_type",
    Words(
        vi="nội dung phải là JSON không nén: Content-Type: application/json, không có Content-Encoding",
        en="the body has to be plain JSON: Content-Type: application/json, without Content-Encoding",
    ),
)
_SLOW = _Told(
    408,
    "too_slow",
    Words(vi="nội dung đến quá chậm; gửi lại", en="the body came too slowly; send it again"),
)
_INCOMPLETE = _Told(
    400,
    "incomplete",
    Words(vi="nội dung không đến đủ; gửi lại", en="the body did not arrive whole; send it again"),
)
_BUSY = _Told(
    503,
    "busy",
    Words(
        vi=f"đang trả lời nhiều yêu cầu; gửi lại sau {_SOON} giây",
        en=f"many requests are being answered; send it again after {_SOON} s",
    ),
    RequestOutcome.BUSY,
    {"Retry-After": str(_SOON)},
)
_AWAY = _Told(
    503,
    "ledger_unavailable",
    Words(
        vi=f"sổ cái chưa trả lời; ký lại và gửi đúng danh sách này sau {_LATER} giây, gửi lặp không thành hai số liệu",
        en=f"the ledger does not answer; sign and send this same list again after {_LATER} s, repeating doubles nothing",
    ),
    RequestOutcome.UNAVAILABLE,
    {"Retry-After": str(_LATER)},
)
