"""Can one version of a schema read what another wrote?

Follows the schema resolution of the Avro specification, and is stricter in two places: a logical type
is part of the type, and names must be equal in full (no alias, no other namespace). The hub demands
FULL_TRANSITIVE: every version reads every other one, because workers of two versions run side by side
and `dossier.events` is kept for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

from schemas.avro import packaged

Schema = Any  # a schema as JSON: str | list | dict
_PROMOTED = {  # writer -> readers, besides itself
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = {"record", "enum", "fixed"}
NO_SCHEMA = (SchemaParseException, UnknownType, KeyError, TypeError, ValueError)
"""What fastavro raises for JSON that is no Avro schema."""


def unreadable(reader: Schema, writer: Schema) -> list[str]:
    """Why `reader` cannot read what `writer` wrote, one line a reason; empty = it can."""
    reader, writer = _normal(reader), _normal(writer)
    return list(_Comparison(_names(reader), _names(writer)).differences(reader, writer, ""))


def incompatible(one: Schema, other: Schema) -> list[str]:
    """Why the two cannot be used side by side, in both directions; empty = they can."""
    return [f"old reads new: {why}" for why in unreadable(one, other)] + [
        f"new reads old: {why}" for why in unreadable(other, one)
    ]


def check_versions(versions: Sequence[Schema]) -> list[str]:
    """Every problem of a record's versions, oldest first: each is sound, each pair is compatible."""
    problems: list[str] = []
    for number, schema in enumerate(versions, start=1):
        try:
            _normal(schema)
        except NO_SCHEMA as error:
            return [f"v{number}: no Avro schema: {error!r}"]
    for (i, old), (j, new) in combinations(enumerate(versions, start=1), 2):
        problems += [f"v{i} and v{j}: {why}" for why in incompatible(old, new)]
    return problems


def check_packaged() -> dict[str, list[str]]:
    """The problems of every packaged record, by folder; records without problems have an empty list."""
    return {
        entry.folder: check_versions(
            [packaged.schema(entry, version) for version in packaged.versions(entry)]
        )
        for entry in packaged.RECORDS
    }


class _Comparison:
    def __init__(self, reader_names: Mapping[str, Schema], writer_names: Mapping[str, Schema]):
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._seen: set[tuple[str, str]] = set()  # named types under comparison: schemas may recur

    def differences(self, reader: Schema, writer: Schema, path: str) -> Iterator[str]:
        reader = _resolve(reader, self._reader_names)
        writer = _resolve(writer, self._writer_names)
        where = path or _name(reader)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.differences(reader, branch, path)
            return
        if isinstance(reader, list):
            reasons = [list(self.differences(branch, writer, path)) for branch in reader]
            if all(reasons):
                # The branch of the same kind has the telling reason.
                same = [
                    why
                    for branch, why in zip(reader, reasons, strict=True)
                    if _kind(_resolve(branch, self._reader_names)) == _kind(writer)
                ]
                yield from same[0] if same else [f"{where}: no branch reads {_kind(writer)}"]
            return
        kind, written = _kind(reader), _kind(writer)
        if kind != written and kind not in _PROMOTED.get(written, ()):
            yield f"{where}: {written} cannot be read as {kind}"
        elif _logical(reader) != _logical(writer):
            yield f"{where}: {_word(writer)} cannot be read as {_word(reader)}"
        elif kind in _NAMED and kind == written:
            yield from self._named(kind, reader, writer, where)
        elif kind == "array":
            yield from self.differences(reader["items"], writer["items"], f"{where}[]")
        elif kind == "map":
            yield from self.differences(reader["values"], writer["values"], f"{where}{{}}")

    def _named(self, kind: str, reader: Schema, writer: Schema, where: str) -> Iterator[str]:
        names = _name(reader), _name(writer)
        if names[0] != names[1]:
            yield f"{where}: {names[1]} cannot be read as {names[0]}"
            return
        if names in self._seen:
            return
        self._seen.add(names)
        if kind == "enum":
            lost = [s for s in writer["symbols"] if s not in reader["symbols"]]
            if lost and "default" not in reader:
                yield f"{where}: unknown symbols {', '.join(lost)} and no default symbol"
        elif kind == "fixed":
            if reader["size"] != writer["size"]:
                yield f"{where}: size {writer['size']} cannot be read as {reader['size']}"
        else:
            written = {field["name"]: field for field in writer["fields"]}
            for field in reader["fields"]:
                at = f"{where}.{field['name']}"
                if field["name"] in written:
                    yield from self.differences(field["type"], written[field["name"]]["type"], at)
                elif "default" not in field:
                    yield f"{at}: not written, and no default"


def _normal(schema: Schema) -> Schema:
    """The schema with every name written in full. Raises what fastavro raises."""
    return parse_schema(schema, _write_hint=False, _force=True)


def _names(schema: Schema) -> dict[str, Schema]:
    """Every named type that a normal schema defines, by full name."""
    found: dict[str, Schema] = {}
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            if part["type"] in _NAMED:
                found[part["name"]] = part
            waiting += [field["type"] for field in part.get("fields", ())]
            waiting += [part[inner] for inner in ("items", "values") if inner in part]
    return found


def _resolve(schema: Schema, names: Mapping[str, Schema]) -> Schema:
    return names.get(schema, schema) if isinstance(schema, str) else schema


def _kind(schema: Schema) -> str:
    kind: str = schema if isinstance(schema, str) else schema["type"]
    return "record" if kind == "error" else kind


def _logical(schema: Schema) -> tuple[Any, ...] | None:
    if not isinstance(schema, dict) or "logicalType" not in schema:
        return None
    return schema["logicalType"], schema.get("precision"), schema.get("scale", 0)


def _word(schema: Schema) -> str:
    logical = _logical(schema)
    return str(logical[0]) if logical else _kind(schema)


def _name(schema: Schema) -> str:
    return str(schema["name"]) if isinstance(schema, dict) and "name" in schema else "the schema"
