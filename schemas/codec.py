"""Records to the bytes of a Kafka message, and back.

Confluent framing: a zero byte, the schema id (4 bytes, big-endian), the Avro body. Keys are the plain
UTF-8 dossier id and no business of the codec.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar, cast

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from schemas import compatibility
from schemas.avro import packaged
from schemas.avro.convert import UnknownSymbol, from_avro, to_avro
from schemas.avro.packaged import Record
from schemas.registry import NotRegistered, SchemaRegistry, UnknownSchemaId
from schemas.topics import TOPICS, Topic

R = TypeVar("R", bound=Record)

_HEADER = struct.Struct(">bI")
_MAGIC = 0


class UndecodableMessage(ValueError):
    """The bytes are no message of ours. The text says what is wrong with them, never what they hold."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """A writer's schema, ready to read: `record` is ``None`` for a record that is none of ours."""

    record: type[Record] | None
    schema: Any
    reader: Any  # None where the writer wrote exactly what we read
    name: str


class Codec:
    """Encodes with the ids of the registry; decodes every version of our records to the newest."""

    def __init__(self, registry: SchemaRegistry, topics: Sequence[Topic] = TOPICS) -> None:
        """`topics`: those that are written, whose ids `prepare` asks for."""
        self._registry = registry
        self._subjects: dict[type[Record], str] = {}
        for topic in topics:
            # A schema has one id under all its subjects: the first topic of a record will do.
            self._subjects.setdefault(topic.record, topic.subject)
        self._newest = {
            entry.record: packaged.schema(entry, packaged.latest(entry))
            for entry in packaged.RECORDS
        }
        self._parsed = {record: parse_schema(s) for record, s in self._newest.items()}
        self._headers: dict[type[Record], bytes] = {}
        self._writers: dict[int, _Writer] = {}

    async def prepare(self) -> None:
        """Ask for the ids of what is written. Raises `NotRegistered` or `RegistryUnavailable`."""
        for record, subject in self._subjects.items():
            entry = packaged.BY_CLASS[record]
            text = packaged.text(entry, packaged.latest(entry))
            schema_id = await self._registry.schema_id(subject, text)
            self._headers[record] = _HEADER.pack(_MAGIC, schema_id)

    def encode(self, record: Record) -> bytes:
        """The message of a record. Raises `NotRegistered` before `prepare`."""
        kind = type(record)
        header = self._headers.get(kind)
        if header is None:
            raise NotRegistered(self._subjects.get(kind, kind.__name__))
        body = BytesIO()
        body.write(header)
        schemaless_writer(body, self._parsed[kind], to_avro(record))
        return body.getvalue()

    async def decode(self, raw: bytes) -> Record:
        """The record of a message, whichever it is.

        Raises `UndecodableMessage` for bytes that are no message of ours, `UnknownSchemaId` for an id
        that the registry does not know or whose schema this version cannot read, and
        `RegistryUnavailable` while the registry does not answer about an id met for the first time.
        """
        if len(raw) < _HEADER.size:
            raise UndecodableMessage(f"{len(raw)} bytes are too few for a message")
        magic, schema_id = _HEADER.unpack_from(raw)
        if magic != _MAGIC:
            raise UndecodableMessage("the first byte is not the magic 0")
        writer = self._writers.get(schema_id)
        if writer is None:
            writer = self._writers[schema_id] = await self._writer(schema_id)
        if writer.record is None:
            raise UndecodableMessage(f"schema id {schema_id} is of another record: {writer.name}")
        body = BytesIO(raw)
        body.seek(_HEADER.size)
        try:
            datum = cast("dict[str, Any]", schemaless_reader(body, writer.schema, writer.reader))
            record = from_avro(writer.record, datum)
        except UnknownSymbol as error:
            if writer.reader is None:
                raise UndecodableMessage(str(error)) from None
            raise UnknownSchemaId(schema_id, str(error)) from None
        except Exception as error:
            # fastavro raises whatever the bytes lead it to: EOFError, IndexError, OverflowError, …
            # Its words may quote content, so only the type is kept.
            raise UndecodableMessage(
                f"no {writer.name} of schema id {schema_id}: {type(error).__name__}"
            ) from None
        if body.tell() != len(raw):
            raise UndecodableMessage(
                f"{len(raw) - body.tell()} bytes left over after a {writer.name}"
            )
        return record

    async def decode_as(self, raw: bytes, record: type[R]) -> R:
        """`decode`, and `UndecodableMessage` for any other record."""
        decoded = await self.decode(raw)
        if not isinstance(decoded, record):
            raise UndecodableMessage(
                f"expected a {record.__name__}, found a {type(decoded).__name__}"
            )
        return decoded

    async def _writer(self, schema_id: int) -> _Writer:
        text = await self._registry.schema(schema_id)
        try:
            schema = json.loads(text)
            parsed = parse_schema(schema)
            name = parsed["name"] if isinstance(parsed, dict) else str(parsed)
        except compatibility.NO_SCHEMA as error:
            raise UnknownSchemaId(schema_id, f"no Avro schema: {type(error).__name__}") from None
        entry = packaged.BY_NAME.get(name)
        if entry is None:
            return _Writer(record=None, schema=None, reader=None, name=name)
        newest = self._newest[entry.record]
        if schema == newest:
            return _Writer(
                record=entry.record, schema=self._parsed[entry.record], reader=None, name=name
            )
        problems = compatibility.unreadable(newest, schema)
        if problems:
            raise UnknownSchemaId(schema_id, "this version cannot read it: " + "; ".join(problems))
        return _Writer(
            record=entry.record, schema=parsed, reader=self._parsed[entry.record], name=name
        )
