"""A small server that speaks the part of the Confluent REST API that the hub uses.

It counts requests, checks no compatibility (like a registry at its default NONE), and can be told to
answer badly.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.test_utils import TestServer

Troubled = Callable[[web.Request], Awaitable[web.StreamResponse] | None]


class RegistryFake:
    """Use as an async context manager; `url` is there inside. Listens on 127.0.0.1, a free port."""

    def __init__(self, prefix: str = "") -> None:
        self.texts: dict[int, str] = {}
        self.subjects: dict[str, list[int]] = {}
        self.levels: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.trouble: Troubled | None = None
        self.levels_need_a_version = False
        self._prefix = prefix
        app = web.Application(middlewares=[self._count])
        app.add_routes(
            [
                web.get(f"{prefix}/schemas/ids/{{id}}", self._by_id),
                web.get(f"{prefix}/subjects", self._list),
                web.post(f"{prefix}/subjects/{{subject}}", self._look_up),
                web.get(f"{prefix}/subjects/{{subject}}/versions", self._versions),
                web.get(f"{prefix}/subjects/{{subject}}/versions/{{version}}", self._version),
                web.post(f"{prefix}/subjects/{{subject}}/versions", self._register),
                web.get(f"{prefix}/config/{{subject}}", self._level),
                web.put(f"{prefix}/config/{{subject}}", self._set_level),
            ]
        )
        self._server = TestServer(app, host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self._server.make_url(self._prefix)).rstrip("/")

    async def __aenter__(self) -> RegistryFake:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def add(self, subject: str, text: str) -> int:
        """Put a schema there, as if it had been registered; the id is global, as Confluent's are."""
        known = {json.dumps(json.loads(t)): schema_id for schema_id, t in self.texts.items()}
        schema_id = known.get(json.dumps(json.loads(text)), len(self.texts) + 1)
        self.texts[schema_id] = text
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    @web.middleware
    async def _count(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        self.requests[f"{request.method} {request.path}"] += 1
        troubled = self.trouble(request) if self.trouble else None
        return await (troubled if troubled is not None else handler(request))

    async def _by_id(self, request: web.Request) -> web.Response:
        text = self.texts.get(int(request.match_info["id"]))
        return _error(404, 40403) if text is None else web.json_response({"schema": text})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.subjects))

    async def _look_up(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        wanted = json.loads((await request.json())["schema"])
        if subject not in self.subjects:
            return _error(404, 40401)
        for number, schema_id in enumerate(self.subjects[subject], start=1):
            if json.loads(self.texts[schema_id]) == wanted:
                return web.json_response({"subject": subject, "id": schema_id, "version": number})
        return _error(404, 40403)

    async def _versions(self, request: web.Request) -> web.Response:
        versions = self.subjects.get(request.match_info["subject"])
        if versions is None:
            return _error(404, 40401)
        return web.json_response(list(range(1, len(versions) + 1)))

    async def _version(self, request: web.Request) -> web.Response:
        versions = self.subjects[request.match_info["subject"]]
        schema_id = versions[int(request.match_info["version"]) - 1]
        return web.json_response({"id": schema_id, "schema": self.texts[schema_id]})

    async def _register(self, request: web.Request) -> web.Response:
        text = (await request.json())["schema"]
        return web.json_response({"id": self.add(request.match_info["subject"], text)})

    async def _level(self, request: web.Request) -> web.Response:
        level = self.levels.get(request.match_info["subject"])
        return (
            _error(404, 40408)
            if level is None
            else web.json_response({"compatibilityLevel": level})
        )

    async def _set_level(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if self.levels_need_a_version and subject not in self.subjects:
            return _error(404, 40401)
        body = await request.json()
        self.levels[subject] = body["compatibility"]
        return web.json_response(body)


def _error(status: int, code: int) -> web.Response:
    return web.json_response({"error_code": code, "message": "not found"}, status=status)
