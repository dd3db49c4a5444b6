from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro import packaged
from schemas.avro.convert import from_avro, to_avro
from schemas.avro.packaged import Record
from schemas.codec import Codec, UndecodableMessage
from schemas.records import (
    Channel,
    DeadLetter,
    DeliveryReceipt,
    DossierEvent,
    EventKind,
    Feed,
    IndicatorObservation,
    Notice,
    Provenance,
)
from schemas.registry import LocalRegistry, NotRegistered, RegistryUnavailable, UnknownSchemaId
from schemas.topics import DELIVERY_RECEIPTS, ONESTOP_NOTICES, TOPICS
from tests.strategies import DOSSIER_EVENTS, RECORDS

NOTICE = Notice(
    notice_id="n1",
    dossier_id="d1",
    source="one_stop",
    feed=Feed.ACTIONS,
    cursor="17",
    read_seq=3,
    kind=EventKind.CHANGE,
    payload_format="opencps/1",
    sealed=b"sealed",
    captured_at=datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=UTC),
)
RECEIPT = DeliveryReceipt(
    delivery_id=1,
    event_id="e1",
    dossier_id="d1",
    dossier_code=None,
    target="national_portal",
    operation="state",
    attempt_id=None,
    reference=None,
    effective_at=NOTICE.captured_at,
    delivered_at=NOTICE.captured_at,
)
OBSERVATION = IndicatorObservation(
    observation_id="HSCV-2026-08",
    indicator="work_files_online_province",
    value=Decimal("91.25"),
    unit="percent",
    agency="H44",
    period="2026-08",
    as_of=date(2026, 8, 31),
    provenance=Provenance(system="eoffice", document=None),
    corrects=None,
    observed_at=NOTICE.captured_at,
    submitted_by="eoffice",
)
WRITTEN = (
    *TOPICS,
    replace(DELIVERY_RECEIPTS, name="indicator.observations", record=IndicatorObservation),
)
"""A topic for every record, also for the one whose flow does not exist yet."""


class OtherWriters(LocalRegistry):
    """The local registry, and schemas of writers of other versions from id 9001 on."""

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[int, str] = {}
        self.asked = 0

    def add(self, schema: Any) -> int:
        schema_id = 9001 + len(self.others)
        self.others[schema_id] = schema if isinstance(schema, str) else json.dumps(schema)
        return schema_id

    async def schema(self, schema_id: int) -> str:
        self.asked += 1
        return self.others.get(schema_id) or await super().schema(schema_id)


@pytest.fixture
def registry() -> OtherWriters:
    return OtherWriters()


@pytest.fixture
async def codec(registry: OtherWriters) -> Codec:
    codec = Codec(registry, WRITTEN)
    await codec.prepare()
    return codec


def framed(schema_id: int, schema: Any, datum: dict[str, Any]) -> bytes:
    body = BytesIO()
    schemaless_writer(body, parse_schema(copy.deepcopy(schema)), datum)
    return b"\x00" + schema_id.to_bytes(4, "big") + body.getvalue()


def schema_of(record: type[Record]) -> dict[str, Any]:
    entry = packaged.BY_CLASS[record]
    return packaged.schema(entry, packaged.latest(entry))


async def ready() -> Codec:
    codec = Codec(LocalRegistry(), WRITTEN)
    await codec.prepare()
    return codec


# --- round trips -----------------------------------------------------------------------------------


@given(RECORDS)
@settings(max_examples=300)
async def test_every_record_comes_back_exactly(record: Record) -> None:
    codec = await ready()
    decoded = await codec.decode(codec.encode(record))
    assert decoded == record
    assert type(decoded) is type(record)


@given(RECORDS)
async def test_the_conversion_names_every_field_of_the_schema_and_no_other(record: Record) -> None:
    schema = parse_schema(schema_of(type(record)))
    body = BytesIO()
    schemaless_writer(body, schema, to_avro(record), strict=True)
    body.seek(0)
    datum = schemaless_reader(body, schema, None)
    assert isinstance(datum, dict)
    assert from_avro(type(record), datum) == record


async def test_the_frame_is_magic_id_body(codec: Codec) -> None:
    raw = codec.encode(NOTICE)
    assert raw[:5] == b"\x00" + (1001).to_bytes(4, "big")
    datum = schemaless_reader(BytesIO(raw[5:]), parse_schema(schema_of(Notice)), None)
    assert isinstance(datum, dict)
    assert datum["captured_at"] == NOTICE.captured_at


async def test_times_come_back_in_utc(codec: Codec) -> None:
    decoded = await codec.decode_as(codec.encode(NOTICE), Notice)
    assert decoded.captured_at.tzinfo is UTC


async def test_a_time_without_a_zone_is_refused_by_name(codec: Codec) -> None:
    naive = replace(NOTICE, captured_at=datetime(2026, 11, 23))  # noqa: DTZ001 - under test
    with pytest.raises(ValueError, match="captured_at: a time without a zone"):
        codec.encode(naive)


@pytest.mark.parametrize("value", ["0", "0.0001", "100", "100.0000", "-0.5", None])
async def test_a_figure_comes_back_with_every_decimal(codec: Codec, value: str | None) -> None:
    figure = None if value is None else Decimal(value)
    raw = codec.encode(replace(OBSERVATION, value=figure))
    assert (await codec.decode_as(raw, IndicatorObservation)).value == figure


async def test_a_figure_with_a_fifth_decimal_is_not_rounded_but_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="Scale"):
        codec.encode(replace(OBSERVATION, value=Decimal("0.00001")))


async def test_before_prepare_nothing_is_encoded() -> None:
    with pytest.raises(NotRegistered, match=r"onestop\.notices-value"):
        Codec(LocalRegistry()).encode(NOTICE)


async def test_only_what_is_written_is_prepared() -> None:
    codec = Codec(LocalRegistry(), [ONESTOP_NOTICES])
    await codec.prepare()
    codec.encode(NOTICE)
    with pytest.raises(NotRegistered):
        codec.encode(RECEIPT)


# --- bytes that are no message of ours -------------------------------------------------------------

GOOD = b"\x00" + (1001).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"", "0 bytes are too few", id="empty"),
        pytest.param(b"\x00\x00\x00\x03", "4 bytes are too few", id="shorter-than-a-header"),
        pytest.param(b"\x01" + GOOD[1:], "not the magic 0", id="wrong-magic"),
        pytest.param(b'{"dossier": 1}', "not the magic 0", id="json"),
        pytest.param(GOOD, "EOFError", id="header-alone"),
        pytest.param(GOOD + b"\xff" * 40, "no vn.thongsuot.Notice", id="endless-length"),
        pytest.param(GOOD + b"\x01" * 40, "no vn.thongsuot.Notice", id="negative-length"),
        pytest.param(GOOD + b"\x04\xc3\x28" + b"\x00" * 40, "UnicodeDecodeError", id="no-utf8"),
    ],
)
async def test_malformed_bytes_are_undecodable(codec: Codec, raw: bytes, says: str) -> None:
    with pytest.raises(UndecodableMessage, match=says):
        await codec.decode(raw)


async def test_every_cut_is_undecodable(codec: Codec) -> None:
    raw = codec.encode(NOTICE)
    for length in range(len(raw)):
        with pytest.raises(UndecodableMessage):
            await codec.decode(raw[:length])


@given(DOSSIER_EVENTS, st.data())
@settings(max_examples=200)
async def test_damaged_bytes_are_undecodable_or_another_record_and_nothing_else(
    event: DossierEvent, data: st.DataObject
) -> None:
    codec = await ready()
    raw = bytearray(codec.encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(5, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = await codec.decode(bytes(raw))
    except UndecodableMessage:
        return
    assert isinstance(decoded, DossierEvent)


@given(st.binary(max_size=200))
@settings(max_examples=300)
async def test_random_bodies_are_undecodable_and_nothing_else(body: bytes) -> None:
    codec = await ready()
    for entry in packaged.RECORDS:
        raw = b"\x00" + packaged.local_id(entry, 1).to_bytes(4, "big") + body
        try:
            decoded = await codec.decode(raw)
        except UndecodableMessage:
            continue
        assert type(decoded) is entry.record


async def test_bytes_left_over_are_undecodable(codec: Codec) -> None:
    with pytest.raises(
        UndecodableMessage, match=r"1 bytes left over after a vn\.thongsuot\.Notice"
    ):
        await codec.decode(codec.encode(NOTICE) + b"\x00")


async def test_another_record_than_expected_is_undecodable(codec: Codec) -> None:
    with pytest.raises(UndecodableMessage, match="expected a DossierEvent, found a Notice"):
        await codec.decode_as(codec.encode(NOTICE), DossierEvent)


async def test_a_strangers_record_is_undecodable(codec: Codec, registry: OtherWriters) -> None:
    schema = {
        "type": "record",
        "name": "com.example.Order",
        "fields": [{"name": "no", "type": "int"}],
    }
    raw = framed(registry.add(schema), schema, {"no": 1})
    with pytest.raises(UndecodableMessage, match=r"another record: com\.example\.Order"):
        await codec.decode(raw)


async def test_the_symbol_unknown_written_by_our_own_version_is_undecodable(codec: Codec) -> None:
    datum = to_avro(NOTICE) | {"kind": "unknown"}
    with pytest.raises(UndecodableMessage, match="kind"):
        await codec.decode(framed(1001, schema_of(Notice), datum))


async def test_no_error_quotes_content(codec: Codec) -> None:
    raw = codec.encode(replace(NOTICE, cursor="Trần Thị Bưởi"))
    for damaged in (raw[:-1], raw + b"x"):
        with pytest.raises(UndecodableMessage) as caught:
            await codec.decode(damaged)
        assert "Bưởi" not in str(caught.value)


# --- other versions --------------------------------------------------------------------------------


async def test_an_unknown_id_stops_and_is_no_dead_letter(codec: Codec) -> None:
    with pytest.raises(UnknownSchemaId, match="4242") as caught:
        await codec.decode(b"\x00" + (4242).to_bytes(4, "big") + b"body")
    assert caught.value.schema_id == 4242
    assert not isinstance(caught.value, UndecodableMessage)


async def test_a_newer_writer_is_read_without_what_we_do_not_know(
    codec: Codec, registry: OtherWriters
) -> None:
    newer = schema_of(Notice)
    newer["fields"].insert(2, {"name": "priority", "type": "int", "default": 0})
    raw = framed(registry.add(newer), newer, to_avro(NOTICE) | {"priority": 9})
    assert await codec.decode(raw) == NOTICE


async def test_an_older_writer_is_read_with_defaults(codec: Codec, registry: OtherWriters) -> None:
    older = schema_of(DeliveryReceipt)
    older["fields"] = [f for f in older["fields"] if f["name"] != "reference"]
    receipt = replace(RECEIPT, reference="lost")
    raw = framed(registry.add(older), older, to_avro(receipt))
    assert await codec.decode(raw) == RECEIPT


@given(event=DOSSIER_EVENTS)
@settings(max_examples=20)
async def test_an_optional_symbol_that_we_do_not_know_is_not_held(event: DossierEvent) -> None:
    registry = OtherWriters()
    codec = Codec(registry)
    newer = schema_of(DossierEvent)
    (channel,) = (f for f in newer["fields"] if f["name"] == "channel")
    channel["type"][1]["symbols"].insert(0, "kiosk")
    raw = framed(registry.add(newer), newer, to_avro(event) | {"channel": "kiosk"})
    assert await codec.decode(raw) == replace(event, channel=None)
    known = framed(9001, newer, to_avro(event) | {"channel": "postal"})
    assert await codec.decode(known) == replace(event, channel=Channel.POSTAL)


async def test_a_mandatory_symbol_that_we_do_not_know_stops(
    codec: Codec, registry: OtherWriters
) -> None:
    newer = schema_of(Notice)
    (kind,) = (f for f in newer["fields"] if f["name"] == "kind")
    kind["type"]["symbols"].insert(0, "merger")
    schema_id = registry.add(newer)
    with pytest.raises(UnknownSchemaId, match="kind: this version does not know the symbol"):
        await codec.decode(framed(schema_id, newer, to_avro(NOTICE) | {"kind": "merger"}))
    assert await codec.decode(framed(schema_id, newer, to_avro(NOTICE))) == NOTICE


async def test_a_writer_that_we_cannot_read_stops_and_says_why(
    codec: Codec, registry: OtherWriters
) -> None:
    other = schema_of(Notice)
    other["fields"] = [f for f in other["fields"] if f["name"] != "dossier_id"]
    with pytest.raises(UnknownSchemaId, match=r"Notice\.dossier_id: not written, and no default"):
        await codec.decode(framed(registry.add(other), other, to_avro(NOTICE)))


@pytest.mark.parametrize("text", ["no json", '{"type": "record"}', '"nonsense"', "{}", "7"])
async def test_a_registry_that_holds_no_avro_stops(
    codec: Codec, registry: OtherWriters, text: str
) -> None:
    with pytest.raises(UnknownSchemaId, match="no Avro schema"):
        await codec.decode(b"\x00" + registry.add(text).to_bytes(4, "big") + b"body")


async def test_a_schema_is_asked_for_once(codec: Codec, registry: OtherWriters) -> None:
    raw = codec.encode(NOTICE)
    for _ in range(3):
        await codec.decode(raw)
    assert registry.asked == 1


async def test_a_registry_that_does_not_answer_is_asked_again(registry: OtherWriters) -> None:
    class Moody(OtherWriters):
        async def schema(self, schema_id: int) -> str:
            if self.asked == 0:
                self.asked += 1
                raise RegistryUnavailable("down")
            return await super().schema(schema_id)

    codec = Codec(Moody())
    await codec.prepare()
    raw = codec.encode(NOTICE)
    with pytest.raises(RegistryUnavailable):
        await codec.decode(raw)
    assert await codec.decode(raw) == NOTICE


async def test_dead_letters_keep_any_bytes(codec: Codec) -> None:
    letter = DeadLetter(
        topic="onestop.notices",
        partition=63,
        offset=2**40,
        reason="undecodable",
        detail="the first byte is not the magic 0",
        dossier_id=None,
        sealed_key=None,
        sealed_value=bytes(range(256)) * 4096,
        first_at=NOTICE.captured_at,
        recorded_at=NOTICE.captured_at,
    )
    assert await codec.decode_as(codec.encode(letter), DeadLetter) == letter
