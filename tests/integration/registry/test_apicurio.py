"""The hub on a real registry server: the contract, the registering command, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from schemas.avro import packaged
from schemas.codec import Codec
from schemas.registry import (
    FULL_TRANSITIVE,
    HttpRegistry,
    IncompatibleSchema,
    NotRegistered,
    RegistryUnavailable,
    SchemaRegistry,
    register_all,
)
from schemas.topics import DOSSIER_EVENTS, TOPICS
from tests.contract.registry_contract import RegistryContract
from tests.embedded.kit import event
from tests.services.apicurio import ApicurioServer, apicurio
from tests.unit.cli.running import run, set_environment

__all__ = ["apicurio"]

pytestmark = pytest.mark.integration


@pytest.fixture
async def registry(apicurio: ApicurioServer) -> AsyncIterator[HttpRegistry]:
    """With every packaged schema; registering what is there already changes nothing."""
    registry = HttpRegistry(apicurio.url, timeout=30)
    await register_all(registry)
    yield registry
    await registry.close()


class TestApicurio(RegistryContract):
    """The contract, on the server."""

    async def test_white_space_and_the_order_of_keys_make_no_other_schema(
        self, registry: SchemaRegistry
    ) -> None:
        """This server goes by the text: there each text gets an id, and both lead to one schema."""
        assert isinstance(registry, HttpRegistry)
        subject, text = TOPICS[0].subject, packaged.text(packaged.RECORDS[0], 1)
        turned = json.dumps(dict(reversed(json.loads(text).items())), indent=4)
        with pytest.raises(NotRegistered):
            await registry.schema_id(subject, turned)
        registered = await registry.register(subject, turned)
        assert await registry.schema_id(subject, turned) == registered
        assert json.loads(await registry.schema(registered)) == json.loads(text)
        assert await registry.schema_id(subject, text) != registered


def without_a_field(text: str) -> str:
    """The schema as a careless next version: a field without a default is gone."""
    schema = json.loads(text)
    gone = next(field for field in schema["fields"] if "default" not in field)
    schema["fields"].remove(gone)
    return json.dumps(schema)


def newest() -> str:
    entry = packaged.BY_CLASS[DOSSIER_EVENTS.record]
    return packaged.text(entry, max(packaged.versions(entry)))


async def test_every_subject_is_there_under_full_transitive(registry: HttpRegistry) -> None:
    assert {topic.subject for topic in TOPICS} <= set(await registry.subjects())
    for topic in TOPICS:
        assert await registry.compatibility(topic.subject) == FULL_TRANSITIVE


async def test_registering_again_gives_the_same_ids(registry: HttpRegistry) -> None:
    assert await register_all(registry) == await register_all(registry)


def test_the_command_registers_and_check_is_content(
    apicurio: ApicurioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, REGISTRY_URL=apicurio.url)
    first, second = run("schemas", "register"), run("schemas", "register")
    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert first.stdout == second.stdout
    for topic in TOPICS:
        assert topic.subject in first.stdout
    assert run("schemas", "check").exit_code == 0


async def test_what_is_encoded_with_its_ids_is_read_by_another_worker(
    apicurio: ApicurioServer, registry: HttpRegistry
) -> None:
    writer = Codec(registry)
    await writer.prepare()
    wire = writer.encode(event("d-1", 7))
    other = HttpRegistry(apicurio.url, timeout=30)
    try:
        reader = Codec(other)
        await reader.prepare()
        assert await reader.decode(wire) == event("d-1", 7)
    finally:
        await other.close()


async def test_a_careless_version_is_refused_by_us_before_the_server_sees_it(
    registry: HttpRegistry,
) -> None:
    subject = DOSSIER_EVENTS.subject
    before = await registry.versions(subject)
    with pytest.raises(IncompatibleSchema, match=subject):
        await registry.register(subject, without_a_field(newest()))
    assert await registry.versions(subject) == before


async def test_the_server_refuses_it_too(apicurio: ApicurioServer, registry: HttpRegistry) -> None:
    """Somebody else's tool does not check first."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{apicurio.url}/subjects/{DOSSIER_EVENTS.subject}/versions",
            json={"schema": without_a_field(newest())},
        ) as answer,
    ):
        assert answer.status == 409, await answer.text()


async def test_a_registry_that_is_down_is_no_verdict_about_a_schema(
    apicurio: ApicurioServer,
) -> None:
    registry = HttpRegistry(apicurio.url, timeout=2)
    apicurio.pause()
    try:
        with pytest.raises(RegistryUnavailable):
            await registry.schema_id(DOSSIER_EVENTS.subject, newest())
    finally:
        apicurio.resume()
        await registry.close()
