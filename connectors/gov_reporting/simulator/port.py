"""The port that is called: tokens, REST in XML and JSON, SOAP; every call is judged by the rules or by a trouble."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import socket
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from aiohttp import web

from connectors.gov_reporting.simulator import wire
from connectors.gov_reporting.simulator.rules import VERDICTS, Call, Outcome
from connectors.gov_reporting.simulator.troubles import Rule, Strike
from connectors.gov_reporting.simulator.truth import Arrival

if TYPE_CHECKING:
    from connectors.gov_reporting.simulator.server import ReportingSimulator

_LARGEST_REQUEST = 64 * 1024 * 1024
_HTML = (
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
_LOGIN = "<html><head><title>Đăng nhập</title></head><body><form>…</form></body></html>"
_DROPS = 20
_LATE_POLL_SECONDS = 0.05
_FOREIGN = {
    "LoaiGoiTin": "SoLieuBaoCao",
    "MaCheDo": "II.06",
    "MaBieuMau": "II.06a",
    "MaKyBaoCao": "2020-01",
    "DonViBaoCao": "H00",
}


class _Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A call with the way it came."""

    call: Call
    transport: str
    encoding: str
    token: str
    digest: str


class Port:
    """Serves `/token`, the four calls under `/api`, and `/soap`."""

    def __init__(self, simulator: ReportingSimulator) -> None:
        self._simulator = simulator
        self.busy: set[asyncio.Transport | None] = set()
        """Connections with a call under way."""
        self._tokens: dict[str, float] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._previous: dict[str, web.Response] = {}
        self._quota_second = 0
        self._quota_used = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_REQUEST)
        app.router.add_post("/token", self._guarded(self._issue))
        for method, path, operation in (
            ("POST", "/api/bao-cao", "create"),
            ("POST", "/api/bao-cao/lan-gui", "update"),
            ("GET", "/api/bao-cao/trang-thai", "look_up"),
            ("GET", "/api/hop-thu", "inbox"),
        ):
            app.router.add_route(method, path, self._guarded(self._rest(operation)))
        app.router.add_post("/soap", self._guarded(self._soap))
        return app

    async def stop(self) -> None:
        """Let nobody wait any longer."""
        self._stopping.set()
        await self.cancel_late_effects()

    async def cancel_late_effects(self) -> None:
        """Effects that have not come yet never will."""
        late = list(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def _guarded(self, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            connection = request.transport
            self.busy.add(connection)
            try:
                response: web.StreamResponse = await handler(request)
                await self._pause(self._simulator.receiver.profile.latency_ms / 1000)
                return response
            except _Dropped:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            finally:
                self.busy.discard(connection)

        return handle

    # --- tokens ----------------------------------------------------------------------------------

    async def _issue(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        strike = self._simulator.troubles.strike("token", None)
        arrival = self._arrival("token", "rest", "json", None, body, strike)
        number = await self._simulator.desk.run(lambda: self._simulator.truth.note_call(arrival))
        if strike is not None:
            whole = web.json_response({"access_token": "cut", "token_type": "Bearer"})
            return await self._misbehave_plainly(request, strike.rule, whole)
        answer, verdict = self._judge_client(request, await request.post())
        await self._simulator.desk.run(
            lambda: self._simulator.truth.decide_call(number, verdict, 0)
        )
        return answer

    def _judge_client(
        self, request: web.Request, fields: Mapping[str, Any]
    ) -> tuple[web.Response, str]:
        profile = self._simulator.receiver.profile
        given = (fields.get("client_id"), fields.get("client_secret"))
        kind, _, pair = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                name, _, secret = base64.b64decode(pair).decode().partition(":")
                given = (unquote_plus(name), unquote_plus(secret))
        if given != (profile.client_id, profile.client_secret):
            headers = {"WWW-Authenticate": "Basic"}
            return (
                web.json_response({"error": "invalid_client"}, status=401, headers=headers),
                "wrong_client",
            )
        if fields.get("grant_type") != "client_credentials":
            return (
                web.json_response({"error": "unsupported_grant_type"}, status=400),
                "wrong_grant",
            )
        token = uuid.uuid4().hex
        self._tokens[token] = time.monotonic() + profile.token_seconds
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": profile.token_seconds,
        }
        return web.json_response(answer, headers={"Cache-Control": "no-store"}), "done"

    def _holds(self, token: str) -> bool:
        return time.monotonic() < self._tokens.get(token, 0.0)

    # --- the two ways in -------------------------------------------------------------------------

    def _rest(self, operation: str) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            said = request.content_type if body else request.headers.get("Accept", "")
            encoding = "json" if "json" in said else "xml"
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            digest = hashlib.sha256(body or request.query_string.encode()).hexdigest()
            message_id = request.headers.get("X-Message-Id", "")
            if operation in ("create", "update"):
                call = self._packet(operation, message_id, body, encoding)
            else:
                call = Call(operation, message_id, dict(request.query))
            return await self._serve(request, _Arrived(call, "rest", encoding, token, digest))

        return handle

    async def _soap(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        digest = hashlib.sha256(body).hexdigest()
        try:
            operation, message_id, document = wire.open_envelope(body)
        except wire.BadDocument as exc:
            return web.Response(
                status=500, body=wire.fault("Client", str(exc)), content_type="text/xml"
            )
        encoding = "json" if document.lstrip().startswith("{") else "xml"
        call = self._packet(operation, message_id, document.encode(), encoding)
        return await self._serve(request, _Arrived(call, "soap", encoding, "", digest))

    @staticmethod
    def _packet(operation: str, message_id: str, body: bytes, encoding: str) -> Call:
        try:
            root, tree = wire.read(body, encoding)
        except wire.BadDocument:
            return Call(operation, message_id, {}, wrong_id=True)
        held = tree if isinstance(tree, dict) else {}
        inner = wire.at(held, "TieuDe.MaGoiTin")
        wrong = operation in ("create", "update") and inner != message_id
        return Call(operation, message_id, held, root=root, wrong_id=wrong)

    # --- one call --------------------------------------------------------------------------------

    async def _serve(self, request: web.Request, arrived: _Arrived) -> web.StreamResponse:
        call = arrived.call
        admitted = arrived.transport == "soap" or self._holds(arrived.token)
        # A call without a token is refused whatever else happens: a trouble is not spent on it.
        strike = self._simulator.troubles.strike(call.operation, call.report) if admitted else None
        arrival = Arrival(
            operation=call.operation,
            transport=arrived.transport,
            encoding=arrived.encoding,
            message_id=call.message_id,
            body_hash=arrived.digest,
            report=call.report,
            revision=call.revision,
            **_of(strike),
        )
        if not admitted:
            await self._note(arrival, "no_token")
            return _no_token()
        if strike is not None:
            return await self._misbehave(request, arrived, arrival, strike.rule)
        if self._over_quota():
            await self._note(arrival, "over_quota")
            return _later(429, 1)
        outcome = await self._simulator.desk.run(lambda: self._take(arrived, arrival))
        return self._answer(arrived, outcome)

    def _over_quota(self) -> bool:
        quota = self._simulator.receiver.profile.quota_per_second
        if quota is None:
            return False
        second = int(time.monotonic())
        if second != self._quota_second:
            self._quota_second, self._quota_used = second, 0
        self._quota_used += 1
        return self._quota_used > quota

    def _answer(
        self,
        arrived: _Arrived,
        outcome: Outcome,
        *,
        message_id: str | None = None,
        report: Mapping[str, str] | None = None,
    ) -> web.Response:
        status, code, text = VERDICTS[outcome.verdict]
        parts = dict(outcome.parts)
        if report is not None:
            parts["BaoCao"] = dict(report)
        tree = {
            "MaKetQua": code,
            "ThongBao": text,
            "MaGoiTin": message_id or arrived.call.message_id,
            **parts,
        }
        root = {"look_up": "TraCuu", "inbox": "HopThu"}.get(arrived.call.operation, "KetQua")
        if status >= 400:
            root = "KetQua"
        document = wire.write(root, tree, arrived.encoding)
        answer = self._around(arrived, document, status, message_id)
        if message_id is None and report is None:
            self._previous[arrived.call.operation] = answer
        return answer

    def _around(
        self, arrived: _Arrived, document: bytes, status: int, message_id: str | None = None
    ) -> web.Response:
        if arrived.transport == "soap":
            body = wire.envelope_around(
                arrived.call.operation, message_id or arrived.call.message_id, document.decode()
            )
            return web.Response(body=body, content_type="text/xml", charset="utf-8")
        media_type = wire.MEDIA_TYPES[arrived.encoding]
        return web.Response(status=status, body=document, content_type=media_type, charset="utf-8")

    # --- at the desk -----------------------------------------------------------------------------

    def _take(self, arrived: _Arrived, arrival: Arrival) -> Outcome:
        return self._decide(arrived, self._simulator.truth.note_call(arrival))

    def _decide(self, arrived: _Arrived, number: int) -> Outcome:
        def written(tree: Mapping[str, Any]) -> str:
            return wire.write("GoiTin", tree, arrived.encoding).decode()

        outcome = self._simulator.receiver.decide(arrived.call, number, written)
        self._simulator.truth.decide_call(number, outcome.verdict, outcome.effects)
        return outcome

    async def _note(self, arrival: Arrival, verdict: str) -> None:
        truth = self._simulator.truth
        await self._simulator.desk.run(
            lambda: truth.decide_call(truth.note_call(arrival), verdict, 0)
        )

    def _arrival(
        self,
        operation: str,
        transport: str,
        encoding: str,
        message_id: str | None,
        body: bytes,
        strike: Strike | None,
    ) -> Arrival:
        # A token's request holds the secret: of it not even the hash is kept.
        digest = "" if operation == "token" else hashlib.sha256(body).hexdigest()
        return Arrival(operation, transport, encoding, message_id, digest, **_of(strike))

    # --- troubles --------------------------------------------------------------------------------

    async def _misbehave(
        self, request: web.Request, arrived: _Arrived, arrival: Arrival, rule: Rule
    ) -> web.StreamResponse:
        """One call under one trouble; what each looks like is in `troubles.py`."""
        number, outcome = await self._simulator.desk.run(
            lambda: self._begin(arrived, arrival, rule)
        )
        match rule.trouble:
            case "late_answer":
                await self._pause(rule.wait)
                if outcome is None:
                    outcome = await self._simulator.desk.run(lambda: self._decide(arrived, number))
                return self._answer(arrived, outcome)
            case "late_effect":
                task = asyncio.create_task(self._late_effect(arrived, number, rule))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                raise _Dropped
            case "expired_token":
                self._tokens.pop(arrived.token, None)
                return _no_token()
            case "fault_200" | "fault_500" if arrived.transport == "soap":
                body = wire.fault("Server", "Lỗi hệ thống, vui lòng thử lại sau")
                return web.Response(
                    status=int(rule.trouble[-3:]), body=body, content_type="text/xml"
                )
            case "fault_500":
                return web.Response(status=500, text="Internal Server Error")
            case "fault_200":
                broken = self._answer(arrived, Outcome("broken"), message_id=None)
                broken.set_status(200)
                return broken
            case "already_exists" | "business_error":
                verdict = "exists" if rule.trouble == "already_exists" else "refused"
                return self._answer(arrived, Outcome(verdict))
            case "foreign_answer":
                foreign = outcome or Outcome("done")
                if rule.foreign == "id":
                    return self._answer(arrived, foreign, message_id=str(uuid.uuid4()))
                return self._answer(arrived, foreign, report=_FOREIGN)
            case "duplicate_answer":
                previous = self._previous.get(arrived.call.operation)
                if previous is None:
                    return self._answer(
                        arrived, outcome or Outcome("done"), message_id=str(uuid.uuid4())
                    )
                return web.Response(
                    status=previous.status, body=previous.body, headers=_type_of(previous)
                )
        whole = self._answer(arrived, outcome or Outcome("done"))
        return await self._misbehave_plainly(request, rule, whole)

    async def _misbehave_plainly(
        self, request: web.Request, rule: Rule, whole: web.Response
    ) -> web.StreamResponse:
        """Troubles that need not know what is asked."""
        match rule.trouble:
            case "no_answer":
                await self._hang(request)
                raise _Dropped
            case "html_502":
                return web.Response(status=502, text=_HTML, content_type="text/html")
            case "html_200":
                return web.Response(text=_LOGIN, content_type="text/html")
            case "rate_limited":
                return _later(429, rule.retry_after)
            case "unavailable":
                return _later(503, rule.retry_after)
            case "overloaded":
                return web.Response(status=503, text="Service Unavailable")
            case "fault_500":
                return web.Response(status=500, text="Internal Server Error")
            case "truncated":
                body = bytes(whole.body or b"")  # type: ignore[arg-type]  # made above, from bytes
                return web.Response(body=body[: len(body) * 3 // 5], headers=_type_of(whole))
            case "reset":
                return await self._reset(request, whole)
            case "slow_drip":
                return await self._drip(request, whole, rule.wait)
        raise _Dropped

    def _begin(self, arrived: _Arrived, arrival: Arrival, rule: Rule) -> tuple[int, Outcome | None]:
        """Note the call, and let it take effect where the trouble comes after that."""
        number = self._simulator.truth.note_call(arrival)
        if rule.trouble != "late_effect" and rule.in_force == "after":
            return number, self._decide(arrived, number)
        return number, None

    async def _late_effect(self, arrived: _Arrived, number: int, rule: Rule) -> None:
        await asyncio.sleep(rule.wait)
        if rule.overtaken:
            # The truth is asked, not an event awaited: what is waited for is in the truth.
            truth, report = self._simulator.truth, arrived.call.report
            for _ in range(int(10 * rule.wait / _LATE_POLL_SECONDS)):
                if await self._simulator.desk.run(lambda: truth.granted_after(number, report)):
                    break
                await asyncio.sleep(_LATE_POLL_SECONDS)
        await self._simulator.desk.run(lambda: self._decide(arrived, number))

    async def _reset(self, request: web.Request, whole: web.Response) -> web.StreamResponse:
        """Half of the answer, then RST."""
        body = bytes(whole.body or b"")  # type: ignore[arg-type]  # made from bytes
        response = await self._begun(request, whole)
        await response.write(body[: len(body) // 2])
        await self._pause(0.05)  # a reset overtakes what still lies in the kernel
        connection = request.transport
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        raise _Dropped

    async def _drip(
        self, request: web.Request, whole: web.Response, seconds: float
    ) -> web.StreamResponse:
        """The answer in twenty drops; a caller who goes ends it."""
        body = bytes(whole.body or b"")  # type: ignore[arg-type]  # made from bytes
        response = await self._begun(request, whole)
        drop = max(1, -(-len(body) // _DROPS))
        try:
            for start in range(0, len(body), drop):
                await self._pause(seconds / _DROPS)
                await response.write(body[start : start + drop])
        except ConnectionError:
            raise _Dropped from None
        return response

    @staticmethod
    async def _begun(request: web.Request, whole: web.Response) -> web.StreamResponse:
        body = bytes(whole.body or b"")  # type: ignore[arg-type]  # made from bytes
        headers = {**_type_of(whole), "Content-Length": str(len(body))}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        return response

    async def _pause(self, seconds: float) -> None:
        """Sleep; at the end of the simulator's life the caller is dropped at once."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        if self._stopping.is_set():
            raise _Dropped

    async def _hang(self, request: web.Request) -> None:
        """Until the caller gives up."""
        while request.transport is not None and not request.transport.is_closing():
            await self._pause(0.1)


def _of(strike: Strike | None) -> dict[str, Any]:
    if strike is None:
        return {}
    rule = strike.rule
    return {
        "trouble": rule.trouble,
        "stage": rule.in_force,
        "fault": strike.number,
        "label": rule.label,
    }


def _type_of(response: web.Response) -> dict[str, str]:
    return {"Content-Type": response.headers["Content-Type"]}


def _no_token() -> web.Response:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return web.json_response({"error": "invalid_token"}, status=401, headers=headers)


def _later(status: int, seconds: int) -> web.Response:
    return web.Response(
        status=status, text="try again later", headers={"Retry-After": str(seconds)}
    )
