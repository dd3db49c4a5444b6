"""Steering the simulator and asking for its truth: HTTP with JSON, on a port of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.gov_reporting.simulator.profile import Profile
from connectors.gov_reporting.simulator.rules import Catalogue, packet
from connectors.gov_reporting.simulator.troubles import Rule

if TYPE_CHECKING:
    from connectors.gov_reporting.simulator.server import ReportingSimulator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Decision(BaseModel):
    """What becomes of a report: the body of `POST /_control/decisions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    report: str
    state: str
    reasons: tuple[str, ...] = ()


class Control:
    """The control API of one simulator; `routes` is all of it."""

    def __init__(self, simulator: ReportingSimulator) -> None:
        self._simulator = simulator
        self.routes: tuple[tuple[str, str, Handler], ...] = (
            ("POST", "/_control/faults", self.arm),
            ("GET", "/_control/faults", self.list_faults),
            ("DELETE", "/_control/faults", self.clear_faults),
            ("DELETE", "/_control/tokens", self.forget_tokens),
            ("POST", "/_control/profile", self.set_profile),
            ("GET", "/_control/profile", self.get_profile),
            ("POST", "/_control/decisions", self.decide),
            ("POST", "/_control/inbox", self.send),
            ("POST", "/_control/publish", self.publish),
            ("POST", "/_control/catalogue", self.set_catalogue),
            ("POST", "/_control/reset", self.reset),
            ("GET", "/_truth/reports", self.reports),
            ("GET", "/_truth/calls", self.calls),
            ("GET", "/_truth/late", self.late),
            ("GET", "/_truth/summary", self.summary),
        )

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[_plain_errors])
        for method, path, handler in self.routes:
            app.router.add_route(method, path, handler)
        return app

    async def arm(self, request: web.Request) -> web.Response:
        rule = Rule.model_validate(await _json(request))
        return _answer({"number": await self._simulator.arm(rule)})

    async def list_faults(self, request: web.Request) -> web.Response:
        return _answer({"faults": self._simulator.troubles.listed()})

    async def clear_faults(self, request: web.Request) -> web.Response:
        await self._simulator.clear_faults()
        return _answer({"faults": []})

    async def forget_tokens(self, request: web.Request) -> web.Response:
        self._simulator.door_port.forget_tokens()
        return _answer({})

    async def set_profile(self, request: web.Request) -> web.Response:
        changes = await _json(request)
        if not isinstance(changes, dict):
            raise ValueError("a JSON object is needed")
        receiver = self._simulator.receiver
        receiver.profile = Profile.model_validate({**receiver.profile.model_dump(), **changes})
        return await self.get_profile(request)

    async def get_profile(self, request: web.Request) -> web.Response:
        profile = self._simulator.receiver.profile
        return _answer(profile.model_dump(mode="json", exclude={"client_secret"}))

    async def decide(self, request: web.Request) -> web.Response:
        decision = Decision.model_validate(await _json(request))
        receiver = self._simulator.receiver
        number = await self._simulator.desk.run(
            lambda: receiver.decide_report(decision.report, decision.state, decision.reasons)
        )
        return _answer({"number": number})

    async def send(self, request: web.Request) -> web.Response:
        items = await _json(request)
        if not isinstance(items, list):
            raise ValueError("a JSON list of packets is needed")
        made = [_packet(each) for each in items]
        truth = self._simulator.truth
        numbers = await self._simulator.desk.run(lambda: [truth.send(each) for each in made])
        return _answer({"numbers": numbers})

    async def publish(self, request: web.Request) -> web.Response:
        sent = await self._simulator.desk.run(self._simulator.receiver.publish)
        return _answer({"sent": sent})

    async def set_catalogue(self, request: web.Request) -> web.Response:
        self._simulator.receiver.catalogue = Catalogue.model_validate(await _json(request))
        return _answer({"regimes": len(self._simulator.receiver.catalogue.regimes)})

    async def reset(self, request: web.Request) -> web.Response:
        await self._simulator.reset()
        return await self.summary(request)

    async def reports(self, request: web.Request) -> web.Response:
        query = request.query
        limit = int(query.get("limit", "500"))
        read = partial(
            self._simulator.truth.reports,
            after=query.get("after", ""),
            limit=limit,
            report=query.get("report"),
        )
        page = await self._simulator.desk.run(read)
        next_after = page[-1]["report"] if len(page) == limit else None
        return _answer({"reports": page, "next": next_after})

    async def calls(self, request: web.Request) -> web.Response:
        query = request.query
        limit = int(query.get("limit", "1000"))
        read = partial(
            self._simulator.truth.calls,
            after=int(query.get("after", "0")),
            limit=limit,
            report=query.get("report"),
        )
        page = await self._simulator.desk.run(read)
        next_after = page[-1]["call"] if len(page) == limit else None
        return _answer({"calls": page, "next": next_after})

    async def late(self, request: web.Request) -> web.Response:
        bound = float(request.query.get("bound", "60"))
        read = partial(self._simulator.truth.decided_late, bound)
        return _answer({"late": await self._simulator.desk.run(read)})

    async def summary(self, request: web.Request) -> web.Response:
        return _answer(await self._simulator.desk.run(self._simulator.truth.summary))


def _packet(item: Any) -> dict[str, Any] | str:
    """{"text": …} as it stands, or {kind: {place: content}} with a head around it."""
    if isinstance(item, dict) and isinstance(item.get("text"), str):
        return str(item["text"])
    if isinstance(item, dict) and len(item) == 1:
        ((kind, content),) = item.items()
        if isinstance(content, dict) and len(content) == 1:
            ((place, tree),) = content.items()
            return packet(kind, place, tree)
    raise ValueError('a packet is {"text": …} or {kind: {place: content}}')


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ValidationError as exc:
        problems = [
            {"field": ".".join(str(part) for part in each["loc"]), "problem": each["msg"]}
            for each in exc.errors(include_input=False, include_url=False)
        ]
        return _answer({"errors": problems}, status=400)
    except ValueError as exc:
        return _answer({"errors": [{"field": "", "problem": str(exc)}]}, status=400)


async def _json(request: web.Request) -> Any:
    return orjson.loads(await request.read())


def _answer(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json", status=status)
