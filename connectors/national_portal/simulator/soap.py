"""The SOAP port: every call is read, judged by the portal's rules or by the trouble that strikes it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
import time
import uuid
from typing import TYPE_CHECKING

from aiohttp import web

from connectors.national_portal.simulator.contract import items_at
from connectors.national_portal.simulator.rules import Outcome
from connectors.national_portal.simulator.troubles import Rule, Strike
from connectors.national_portal.simulator.truth import Arrival
from connectors.national_portal.simulator.wire import Call, ClientFault, Part, fault

if TYPE_CHECKING:
    from connectors.national_portal.simulator.server import PortalSimulator

_LARGEST_REQUEST = 16 * 1024 * 1024
_XML = {"Content-Type": "text/xml; charset=utf-8"}
_HTML = (
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
_DROPS = 20
_LATE_POLL_SECONDS = 0.05
_FOREIGN_CODE = "000.00.00.G22-000000-0000"


class _Dropped(Exception):
    """The connection is to be closed without an answer."""


class SoapPort:
    """Serves the contract's operations, its WSDL and its schemas."""

    def __init__(self, simulator: PortalSimulator) -> None:
        self._simulator = simulator
        self._wire = simulator.wire
        self.busy: set[asyncio.Transport | None] = set()
        """Connections with a call under way."""
        self._late: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._previous: dict[str, bytes] = {}
        """The last answer of each operation, and of any."""
        self._newest = b""
        self._quota_second = 0
        self._quota_used = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_REQUEST)
        app.router.add_post("/portal", self._post)
        app.router.add_get("/portal", self._wsdl)
        app.router.add_get("/{name}.xsd", self._schema)
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

    async def _wsdl(self, request: web.Request) -> web.Response:
        if "wsdl" not in {key.lower() for key in request.query}:
            raise web.HTTPMethodNotAllowed("GET", ["POST"])
        return web.Response(body=self._wire.wsdl(self._simulator.url), headers=_XML)

    async def _schema(self, request: web.Request) -> web.Response:
        path = self._wire.schema_files.get(f"{request.match_info['name']}.xsd")
        if path is None:
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes(), headers=_XML)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        connection = request.transport
        self.busy.add(connection)
        try:
            return await self._receive(request)
        finally:
            self.busy.discard(connection)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.content_type != "text/xml":
            return web.Response(status=415, text="SOAP 1.1 needs Content-Type: text/xml")
        digest = hashlib.sha256(body).hexdigest()
        try:
            call = self._wire.read(body)
        except ClientFault as exc:
            await self._note(Arrival("", "", (), None, None, 0, digest), "invalid")
            return web.Response(status=500, body=fault("Client", str(exc)), headers=_XML)
        try:
            response = await self._serve(request, call, digest)
            await self._pause(self._simulator.portal.profile.latency_ms / 1000)
        except _Dropped:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return response

    async def _serve(self, request: web.Request, call: Call, digest: str) -> web.StreamResponse:
        items = self._items(call)
        strike = self._strike(call, items)
        arrival = Arrival(
            operation=call.role,
            element=call.element,
            codes=call.codes,
            message_id=call.message_id,
            session=call.session,
            items=items,
            body_hash=digest,
            trouble=None if strike is None else strike.rule.trouble,
            stage=None if strike is None else strike.rule.in_force,
            fault=None if strike is None else strike.number,
            label=None if strike is None else strike.rule.label,
        )
        if strike is not None:
            return await self._misbehave(request, call, arrival, strike.rule)
        if self._over_quota():
            await self._note(arrival, "over_quota")
            return _rate_limited(1)
        if call.role == "look_up" and self._simulator.portal.profile.failing_lookups:
            await self._note(arrival, "fault")
            return _server_fault(500)
        return self._answer(call, await self._simulator.desk.run(lambda: self._take(call, arrival)))

    def _strike(self, call: Call, items: int) -> Strike | None:
        # A call without a session is refused whatever else happens: a trouble is not spent on it.
        if call.role != "login" and not self._simulator.portal.session_holds(call.session):
            return None
        return self._simulator.troubles.strike(call.role, call.element, call.codes, items)

    def _items(self, call: Call) -> int:
        contract = self._wire.contract
        match call.role:
            case "create" | "update":
                return len(items_at(call.fields, contract.write.items))
            case "steps":
                return len(items_at(call.fields, contract.steps.items))
            case _:
                return 0

    def _over_quota(self) -> bool:
        quota = self._simulator.portal.profile.quota_per_second
        if quota is None:
            return False
        second = int(time.monotonic())
        if second != self._quota_second:
            self._quota_second, self._quota_used = second, 0
        self._quota_used += 1
        return self._quota_used > quota

    def _answer(self, call: Call, outcome: Outcome) -> web.Response:
        body = self._wire.answer(call, outcome.verdict, outcome.parts)
        self._newest = self._previous[call.element] = body
        return web.Response(body=body, headers=_XML)

    # --- at the desk -----------------------------------------------------------------------------

    def _take(self, call: Call, arrival: Arrival) -> Outcome:
        return self._decide(call, self._simulator.truth.note_call(arrival))

    def _decide(
        self, call: Call, number: int, only: int | None = None, *, admitted: bool = False
    ) -> Outcome:
        """`admitted`: its session held when it came in, and need not hold still."""
        outcome = self._simulator.portal.decide(call, number, only=only, admitted=admitted)
        self._simulator.truth.decide_call(number, outcome.verdict, outcome.effects)
        return outcome

    async def _note(self, arrival: Arrival, verdict: str) -> None:
        truth = self._simulator.truth
        await self._simulator.desk.run(
            lambda: truth.decide_call(truth.note_call(arrival), verdict, 0)
        )

    # --- troubles --------------------------------------------------------------------------------

    async def _misbehave(
        self, request: web.Request, call: Call, arrival: Arrival, rule: Rule
    ) -> web.StreamResponse:
        """One call under one trouble; what each looks like is in `troubles.py`."""
        number, outcome = await self._simulator.desk.run(lambda: self._begin(call, arrival, rule))
        match rule.trouble:
            case "no_answer":
                await self._hang(request)
                raise _Dropped
            case "late_answer" | "slow":
                await self._pause(rule.wait)
                if outcome is None:
                    outcome = await self._admit(call, number)
                return self._answer(call, outcome)
            case "slow_drip" | "reset":
                outcome = outcome or Outcome("done")
                whole = self._wire.answer(call, outcome.verdict, outcome.parts)
                if rule.trouble == "reset":
                    return await self._reset(request, whole)
                return await self._drip(request, whole, rule.wait)
            case "late_effect":
                task = asyncio.create_task(self._late_effect(call, number, rule))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                raise _Dropped
            case "drop":
                raise _Dropped
            case "fault_500":
                return _server_fault(500)
            case "fault_200":
                return _server_fault(200)
            case "html_502":
                return web.Response(status=502, text=_HTML, content_type="text/html")
            case "rate_limited":
                return _rate_limited(rule.retry_after)
            case "unavailable":
                return _unavailable(rule.retry_after)
            case "stale_look_up":
                assert outcome is not None
                return self._answer(call, outcome)
            case "expired_session":
                return self._answer(call, Outcome("no_session"))
            case "already_exists" | "business_error":
                verdict = "exists" if rule.trouble == "already_exists" else "refused"
                body = self._wire.answer(call, verdict, code=rule.code, text=rule.text)
                return web.Response(body=body, headers=_XML)
            case "wrong_namespace":
                outcome = outcome or Outcome("done")
                whole = self._wire.answer(call, outcome.verdict, outcome.parts)
                return web.Response(body=self._wire.astray(whole), headers=_XML)
            case "duplicate_answer":
                body = self._previous.get(call.element, self._newest)
                return web.Response(body=body, headers=_XML)
            case "truncated_xml":
                outcome = outcome or Outcome("done")
                whole = self._wire.answer(call, outcome.verdict, outcome.parts)
                return web.Response(body=whole[: len(whole) * 3 // 5], headers=_XML)
            case "foreign_answer":
                return self._foreign_answer(call, outcome or Outcome("done"), rule)
            case _:  # partial_chunk
                assert outcome is not None
                return self._answer(call, outcome)

    def _begin(self, call: Call, arrival: Arrival, rule: Rule) -> tuple[int, Outcome | None]:
        """Note the call, and let it take effect where the trouble comes after that."""
        number = self._simulator.truth.note_call(arrival)
        if rule.trouble == "expired_session":
            self._simulator.portal.end_session(call.session)
        if rule.trouble == "stale_look_up":
            outcome = self._simulator.portal.look_up(call, ago=rule.wait)
            self._simulator.truth.decide_call(number, outcome.verdict, 0)
            return number, outcome
        if rule.trouble == "partial_chunk":
            return number, self._decide(call, number, rule.k, admitted=True)
        if rule.trouble != "late_effect" and rule.in_force == "after":
            return number, self._decide(call, number, admitted=True)
        return number, None

    async def _admit(self, call: Call, number: int) -> Outcome:
        return await self._simulator.desk.run(lambda: self._decide(call, number, admitted=True))

    def _foreign_answer(self, call: Call, outcome: Outcome, rule: Rule) -> web.Response:
        if rule.foreign == "id":
            body = self._wire.answer(
                call, outcome.verdict, outcome.parts, message_id=str(uuid.uuid4())
            )
        else:
            parts: tuple[Part, ...] = outcome.parts
            if call.role == "look_up":
                parts = (self._simulator.portal.found(_FOREIGN_CODE, {"status": "4"}, 0.0),)
            body = self._wire.answer(call, outcome.verdict, parts, issue=_FOREIGN_CODE)
        return web.Response(body=body, headers=_XML)

    async def _late_effect(self, call: Call, number: int, rule: Rule) -> None:
        await asyncio.sleep(rule.wait)
        if rule.overtaken:
            # A table is asked, not an event awaited: what is waited for is in the truth.
            for _ in range(int(10 * rule.wait / _LATE_POLL_SECONDS)):
                if await self._simulator.desk.run(lambda: self._overtaken(call, number)):
                    break
                await asyncio.sleep(_LATE_POLL_SECONDS)
        await self._admit(call, number)

    def _overtaken(self, call: Call, number: int) -> bool:
        truth, portal = self._simulator.truth, self._simulator.portal
        return truth.granted_after(number, call.role, call.codes) and portal.would_change(call)

    async def _reset(self, request: web.Request, whole: bytes) -> web.StreamResponse:
        """Half of the answer, then RST."""
        response = await self._begun(request, whole)
        await response.write(whole[: len(whole) // 2])
        await self._pause(0.05)  # a reset overtakes what still lies in the kernel
        connection = request.transport
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        raise _Dropped

    async def _drip(self, request: web.Request, whole: bytes, seconds: float) -> web.StreamResponse:
        """The answer in twenty drops; a caller who goes ends it."""
        response = await self._begun(request, whole)
        drop = -(-len(whole) // _DROPS)
        try:
            for start in range(0, len(whole), drop):
                await self._pause(seconds / _DROPS)
                await response.write(whole[start : start + drop])
        except ConnectionError:
            raise _Dropped from None
        return response

    @staticmethod
    async def _begun(request: web.Request, whole: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_XML, "Content-Length": str(len(whole))})
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


def _server_fault(status: int) -> web.Response:
    return web.Response(
        status=status, body=fault("Server", "Lỗi hệ thống, vui lòng thử lại sau"), headers=_XML
    )


def _unavailable(seconds: int) -> web.Response:
    return web.Response(
        status=503, text="service unavailable", headers={"Retry-After": str(seconds)}
    )


def _rate_limited(seconds: int) -> web.Response:
    return web.Response(
        status=429, text="rate limit exceeded", headers={"Retry-After": str(seconds)}
    )
