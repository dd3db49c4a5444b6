"""What the codec needs of a registry. Inherit, and give `registry`."""

from __future__ import annotations

import asyncio
import json

import pytest

from schemas.avro import packaged
from schemas.registry import NotRegistered, SchemaRegistry, UnknownSchemaId
from schemas.topics import TOPICS


class RegistryContract:
    """The registry of the fixture holds every packaged version under the subjects of the topics."""

    async def test_an_id_leads_back_to_the_schema_it_was_given_for(
        self, registry: SchemaRegistry
    ) -> None:
        for topic in TOPICS:
            entry = packaged.BY_CLASS[topic.record]
            for version in packaged.versions(entry):
                text = packaged.text(entry, version)
                schema_id = await registry.schema_id(topic.subject, text)
                assert json.loads(await registry.schema(schema_id)) == json.loads(text)

    async def test_ids_of_different_schemas_differ(self, registry: SchemaRegistry) -> None:
        ids = [
            await registry.schema_id(t.subject, packaged.text(packaged.BY_CLASS[t.record], 1))
            for t in TOPICS
        ]
        assert len(set(ids)) == len({topic.record for topic in TOPICS})

    async def test_white_space_and_the_order_of_keys_make_no_other_schema(
        self, registry: SchemaRegistry
    ) -> None:
        text = packaged.text(packaged.RECORDS[0], 1)
        turned = json.dumps(dict(reversed(json.loads(text).items())), indent=4)
        subject = TOPICS[0].subject
        assert await registry.schema_id(subject, turned) == await registry.schema_id(subject, text)

    async def test_an_unknown_id_is_refused_by_name(self, registry: SchemaRegistry) -> None:
        with pytest.raises(UnknownSchemaId, match="999999"):
            await registry.schema(999_999)

    async def test_a_hundred_ask_at_once_about_an_unknown_id(
        self, registry: SchemaRegistry
    ) -> None:
        answers = await asyncio.gather(
            *(registry.schema(999_999) for _ in range(100)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [UnknownSchemaId] * 100

    async def test_a_schema_that_is_not_there_has_no_id(self, registry: SchemaRegistry) -> None:
        schema = {"type": "record", "name": "vn.thongsuot.Stranger", "fields": []}
        with pytest.raises(NotRegistered, match="thongsuot schemas register"):
            await registry.schema_id(TOPICS[0].subject, json.dumps(schema))
