"""Steering the simulator and asking for its truth: HTTP with JSON, on a port of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from connectors.national_portal.simulator.late import late_effects
from connectors.national_portal.simulator.profile import Profile
from connectors.national_portal.simulator.rules import Catalogue
from connectors.national_portal.simulator.troubles import Rule, Script, scripted

if TYPE_CHECKING:
    from connectors.national_portal.simulator.server import PortalSimulator

_SCRIPT: TypeAdapter[Script] = TypeAdapter(Script)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The control API of one simulator; `routes` is all of it."""

    def __init__(self, simulator: PortalSimulator) -> None:
        self._simulator = simulator
        self.routes: tuple[tuple[str, str, Handler], ...] = (
            ("POST", "/_control/faults", self.arm),
            ("POST", "/_control/script", self.arm_script),
            ("GET", "/_control/faults", self.list_faults),
            ("DELETE", "/_control/faults", self.clear_faults),
            ("POST", "/_control/profile", self.set_profile),
            ("GET", "/_control/profile", self.get_profile),
            ("POST", "/_control/dossiers", self.give_birth),
            ("POST", "/_control/catalogue", self.set_catalogue),
            ("POST", "/_control/reset", self.reset),
            ("GET", "/_truth/dossiers", self.dossiers),
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

    async def arm_script(self, request: web.Request) -> web.Response:
        rules = scripted(_SCRIPT.validate_python(await _json(request)))
        return _answer({"numbers": [await self._simulator.arm(rule) for rule in rules]})

    async def list_faults(self, request: web.Request) -> web.Response:
        return _answer({"faults": self._simulator.troubles.listed()})

    async def clear_faults(self, request: web.Request) -> web.Response:
        await self._simulator.clear_faults()
        return _answer({"faults": []})

    async def set_profile(self, request: web.Request) -> web.Response:
        changes = await _json(request)
        if not isinstance(changes, dict):
            raise ValueError("a JSON object is needed")
        portal = self._simulator.portal
        portal.profile = Profile.model_validate({**portal.profile.model_dump(), **changes})
        return await self.get_profile(request)

    async def get_profile(self, request: web.Request) -> web.Response:
        profile = self._simulator.portal.profile
        return _answer(profile.model_dump(exclude={"password"}))

    async def give_birth(self, request: web.Request) -> web.Response:
        items = await _json(request)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError("a JSON list of dossiers is needed")
        portal = self._simulator.portal
        codes = await self._simulator.desk.run(lambda: [portal.give_birth(each) for each in items])
        return _answer({"codes": codes})

    async def set_catalogue(self, request: web.Request) -> web.Response:
        catalogue = Catalogue.model_validate(await _json(request))
        self._simulator.portal.catalogue = catalogue
        return _answer(
            {"procedures": len(catalogue.procedures), "agencies": len(catalogue.agencies)}
        )

    async def reset(self, request: web.Request) -> web.Response:
        await self._simulator.reset()
        return await self.summary(request)

    async def dossiers(self, request: web.Request) -> web.Response:
        query = request.query
        limit = int(query.get("limit", "500"))
        read = partial(
            self._simulator.truth.dossiers,
            after=query.get("after", ""),
            limit=limit,
            code=query.get("code"),
            fields=query.get("fields", "1") != "0",
        )
        page = await self._simulator.desk.run(read)
        next_after = page[-1]["code"] if len(page) == limit else None
        return _answer({"dossiers": page, "next": next_after})

    async def calls(self, request: web.Request) -> web.Response:
        query = request.query
        limit = int(query.get("limit", "1000"))
        read = partial(
            self._simulator.truth.calls,
            after=int(query.get("after", "0")),
            limit=limit,
            code=query.get("code"),
        )
        page = await self._simulator.desk.run(read)
        next_after = page[-1]["call"] if len(page) == limit else None
        return _answer({"calls": page, "next": next_after})

    async def late(self, request: web.Request) -> web.Response:
        read = partial(late_effects, self._simulator.truth, float(request.query.get("bound", "60")))
        return _answer({"late": await self._simulator.desk.run(read)})

    async def summary(self, request: web.Request) -> web.Response:
        return _answer(await self._simulator.desk.run(self._simulator.truth.summary))


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
