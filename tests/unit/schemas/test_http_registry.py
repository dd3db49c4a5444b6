from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from schemas.avro import packaged
from schemas.codec import Codec
from schemas.records import DossierEvent, Feed, Notice
from schemas.registry import (
    HttpRegistry,
    IncompatibleSchema,
    NotRegistered,
    RegistryUnavailable,
    UnknownSchemaId,
    register_all,
)
from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from tests.registry_fake import RegistryFake
from tests.unit.schemas.test_codec import NOTICE

TEXT = packaged.text(packaged.BY_CLASS[Notice], 1)
SUBJECT = ONESTOP_NOTICES.subject


@pytest.fixture
async def server() -> AsyncIterator[RegistryFake]:
    async with RegistryFake() as server:
        yield server


@pytest.fixture
async def registry(server: RegistryFake) -> AsyncIterator[HttpRegistry]:
    registry = HttpRegistry(server.url)
    yield registry
    await registry.close()


# --- asking ----------------------------------------------------------------------------------------


async def test_a_hundred_decodes_of_an_id_met_for_the_first_time_are_one_request(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    await register_all(registry)
    codec = Codec(registry)
    await codec.prepare()
    server.requests.clear()
    raw = codec.encode(NOTICE)
    decoded = await asyncio.gather(*(codec.decode(raw) for _ in range(100)))
    assert decoded == [NOTICE] * 100
    assert await codec.decode(raw) == NOTICE
    schema_id = int.from_bytes(raw[1:5], "big")
    assert server.requests == {f"GET /schemas/ids/{schema_id}": 1}


async def test_a_hundred_decodes_of_an_unknown_id_are_one_request(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    codec = Codec(registry)
    raw = b"\x00" + (77).to_bytes(4, "big") + b"body"
    answers = await asyncio.gather(*(codec.decode(raw) for _ in range(100)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnknownSchemaId] * 100
    assert server.requests == {"GET /schemas/ids/77": 1}
    with pytest.raises(UnknownSchemaId):
        await codec.decode(raw)
    assert server.requests["GET /schemas/ids/77"] == 2


async def test_one_that_gives_up_does_not_take_the_answer_from_the_others(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    schema_id = server.add(SUBJECT, TEXT)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def wait_for_it() -> web.Response:
        asked.set()
        await go_on.wait()
        return web.json_response({"schema": TEXT})

    server.trouble = lambda _: wait_for_it()
    first = asyncio.create_task(registry.schema(schema_id))
    second = asyncio.create_task(registry.schema(schema_id))
    await asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    assert await second == TEXT
    assert server.requests.total() == 1


async def test_a_given_session_is_used_and_left_open(server: RegistryFake) -> None:
    async with aiohttp.ClientSession() as session:
        registry = HttpRegistry(server.url, session)
        assert list(await registry.subjects()) == []
        await registry.close()
        assert not session.closed


def _answers(
    status: int, body: str, kind: str = "application/json"
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer() -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type=kind)

    return lambda _: answer()


UNUSABLE = [
    pytest.param(_answers(500, '{"error_code": 50001, "message": "backend"}'), "backend", id="500"),
    pytest.param(_answers(503, "<h1>no</h1>", "text/html"), "503 without JSON", id="html-503"),
    pytest.param(
        _answers(404, "<h1>no</h1>", "text/html"), "check the registry's URL", id="html-404"
    ),
    pytest.param(_answers(404, '{"error": "no route"}'), "HTTP 404", id="404-of-someone-else"),
    pytest.param(_answers(401, '{"error_code": 401, "message": ""}'), "credentials", id="401"),
    pytest.param(_answers(200, "[]"), "an answer without", id="another-shape"),
    pytest.param(_answers(200, '{"schema'), "without JSON", id="cut-short"),
]


@pytest.mark.parametrize(("trouble", "says"), UNUSABLE)
async def test_an_unusable_answer_says_nothing_about_the_schema(
    server: RegistryFake,
    registry: HttpRegistry,
    trouble: Callable[[web.Request], Awaitable[web.StreamResponse]],
    says: str,
) -> None:
    server.trouble = trouble
    with pytest.raises(RegistryUnavailable, match=says):
        await registry.schema(1)
    with pytest.raises(RegistryUnavailable, match=says):
        await registry.schema_id(SUBJECT, TEXT)


async def test_nobody_listening_is_unavailable() -> None:
    async with RegistryFake() as server:
        registry = HttpRegistry(server.url)
    with pytest.raises(RegistryUnavailable, match="ClientConnectorError"):
        await registry.schema(1)
    await registry.close()


async def test_no_answer_in_time_is_unavailable(server: RegistryFake) -> None:
    over = asyncio.Event()

    async def never() -> web.Response:
        await over.wait()
        return web.json_response({})

    server.trouble = lambda _: never()
    registry = HttpRegistry(server.url, timeout=0.05)
    with pytest.raises(RegistryUnavailable, match="TimeoutError"):
        await registry.schema(1)
    over.set()
    await registry.close()


async def test_a_password_in_the_url_is_sent_and_never_shown(server: RegistryFake) -> None:
    seen: list[str | None] = []

    async def refuse() -> web.Response:
        return web.json_response({"error_code": 401}, status=401)

    def trouble(request: web.Request) -> Awaitable[web.StreamResponse]:
        seen.append(request.headers.get("Authorization"))
        return refuse()

    server.trouble = trouble
    registry = HttpRegistry(server.url.replace("http://", "http://hub:s3cret@"))
    with pytest.raises(RegistryUnavailable) as caught:
        await registry.schema(1)
    await registry.close()
    assert seen == [aiohttp.encode_basic_auth("hub", "s3cret")]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "registry:8081", "ftp://registry", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        HttpRegistry(url)


async def test_a_schema_that_is_no_avro_is_not_ours_to_read(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    server.trouble = _answers(200, '{"schema": "{}", "schemaType": "JSON"}')
    with pytest.raises(UnknownSchemaId, match="no Avro schema"):
        await registry.schema(1)


# --- registering -----------------------------------------------------------------------------------


async def test_registering_puts_every_version_under_full_transitive(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    ids = await register_all(registry)
    assert list(ids) == [topic.subject for topic in TOPICS]
    assert list(await registry.subjects()) == [topic.subject for topic in TOPICS]
    assert server.levels == {topic.subject: "FULL_TRANSITIVE" for topic in TOPICS}
    assert await register_all(registry) == ids


async def test_a_server_that_wants_a_version_before_a_level_gets_it_so(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    server.levels_need_a_version = True
    await register_all(registry)
    assert server.levels == {topic.subject: "FULL_TRANSITIVE" for topic in TOPICS}


async def test_our_own_check_refuses_what_the_server_would_take(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    stranger = json.loads(TEXT)
    stranger["fields"].append({"name": "priority", "type": "int"})
    server.add(SUBJECT, json.dumps(stranger))
    with pytest.raises(IncompatibleSchema, match=r"Notice\.priority: not written, and no default"):
        await registry.register(SUBJECT, TEXT)
    assert len(server.subjects[SUBJECT]) == 1


async def test_a_refusal_of_the_server_is_told(
    server: RegistryFake, registry: HttpRegistry
) -> None:
    async def conflict() -> web.Response:
        return web.json_response({"error_code": 409, "message": "incompatible"}, status=409)

    server.trouble = lambda r: (
        conflict() if r.path.endswith("/versions") and r.method == "POST" else None
    )
    with pytest.raises(IncompatibleSchema, match="incompatible"):
        await registry.register(SUBJECT, TEXT)


async def test_producers_never_register(server: RegistryFake, registry: HttpRegistry) -> None:
    codec = Codec(registry)
    with pytest.raises(NotRegistered, match="thongsuot schemas register"):
        await codec.prepare()
    assert server.subjects == {}


async def test_the_ids_are_the_servers(server: RegistryFake, registry: HttpRegistry) -> None:
    server.add("somebody.else-value", '"string"')
    await register_all(registry)
    codec = Codec(registry, [ONESTOP_NOTICES, DOSSIER_EVENTS])
    await codec.prepare()
    raw = codec.encode(NOTICE)
    assert raw[:5] == b"\x00" + (2).to_bytes(4, "big")
    assert (await codec.decode_as(raw, Notice)).feed is Feed.ACTIONS
    entry = packaged.BY_CLASS[DossierEvent]
    assert await registry.schema_id(DOSSIER_EVENTS.subject, packaged.text(entry, 1)) == 3
