from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro import packaged
from schemas.avro.convert import to_avro
from schemas.compatibility import check_packaged, check_versions, incompatible, unreadable
from schemas.records import DossierEvent
from tests.strategies import DOSSIER_EVENTS

Schema = dict[str, Any]
EVENT: Schema = packaged.schema(packaged.BY_CLASS[DossierEvent], 1)

PUBLISHED = {
    "notice/v1": "2c559f4fa4fa5b0a343b6194479fcf576f3834ca5cadc3e972c9218b15029cad",
    "dossier_event/v1": "5975d5e4de19be1c9daec381e885c16801f438fb711235f68f81c75b08e26a26",
    "dead_letter/v1": "c2f290d40b8266b15d1bcbcb608ff1c50d409cd7532d28eed3e4e411264e92cb",
    "delivery_receipt/v1": "2848b0b87dd0cff46ea0121e3b48e421719a618effb6e87a41f9810b2715c865",
    "delivery_receipt/v2": "993b580cfba20618ee03d8d47af126a67938431c26141067f7f74b0131617a88",
    "indicator_observation/v1": "ffafc848a149b2331e0ca02caa66169ca3b01ac2435af42c8b097708848b698d",
    "report_packet/v1": "1fd479f3b57ce9f1ba89cc38f10dbad092ac3a823210dd38b52b3337bb6267f4",
}


def avro_can_read(reader: Schema, writer: Schema) -> bool:
    """The verdict of Apache Avro's own checker, which shares no code with ours."""
    verdict = ReaderWriterCompatibilityChecker().get_compatibility(
        parse(json.dumps(reader)), parse(json.dumps(writer))
    )
    return bool(verdict.compatibility is SchemaCompatibilityType.compatible)


# --- what is published -----------------------------------------------------------------------------


def test_every_version_is_compatible_with_every_other() -> None:
    assert check_packaged() == {entry.folder: [] for entry in packaged.RECORDS}


def test_apache_avro_agrees() -> None:
    for entry in packaged.RECORDS:
        schemas = [packaged.schema(entry, version) for version in packaged.versions(entry)]
        for reader in schemas:
            for writer in schemas:
                assert avro_can_read(reader, writer), entry.folder


def test_published_files_are_never_edited() -> None:
    found = {
        f"{entry.folder}/v{version}": hashlib.sha256(
            packaged.text(entry, version).encode()
        ).hexdigest()
        for entry in packaged.RECORDS
        for version in packaged.versions(entry)
    }
    assert found == PUBLISHED, "add a version; a published file stays as it is"


def test_local_ids_stay_what_they_are() -> None:
    ids = {entry.folder: packaged.local_id(entry, 1) for entry in packaged.RECORDS}
    assert ids == {
        "notice": 1001,
        "dossier_event": 2001,
        "dead_letter": 3001,
        "delivery_receipt": 4001,
        "indicator_observation": 5001,
        "report_packet": 6001,
    }


def _fields(schema: Any) -> list[Schema]:
    if isinstance(schema, list):
        return [field for branch in schema for field in _fields(branch)]
    if not isinstance(schema, dict):
        return []
    found = list(schema.get("fields", ()))
    for inner in [field["type"] for field in found] + [schema.get("items")]:
        found += _fields(inner)
    return found


@pytest.mark.parametrize("entry", packaged.RECORDS, ids=lambda entry: entry.folder)
def test_every_field_is_explained_and_every_optional_one_defaults_to_null(
    entry: packaged.RecordSchema,
) -> None:
    fields = _fields(packaged.schema(entry, packaged.latest(entry)))
    assert len(fields) >= 10
    for field in fields:
        assert field["doc"].endswith("."), field["name"]
        optional = isinstance(field["type"], list)
        assert optional == ("default" in field), field["name"]
        if optional:
            assert field["type"][0] == "null"
            assert field["default"] is None


# --- what would be refused -------------------------------------------------------------------------


def field_of(schema: Schema, name: str) -> Schema:
    (field,) = (f for f in schema["fields"] if f["name"] == name)
    assert isinstance(field, dict)
    return field


def add(field: Schema) -> Callable[[Schema], None]:
    return lambda schema: schema["fields"].append(field)


def drop(name: str) -> Callable[[Schema], None]:
    return lambda schema: schema["fields"].remove(field_of(schema, name))


def retype(name: str, kind: Any) -> Callable[[Schema], None]:
    return lambda schema: field_of(schema, name).update(type=kind)


def enum(name: str, change: Callable[[Schema], object]) -> Callable[[Schema], None]:
    return lambda schema: (change(field_of(schema, name)["type"]), None)[1]


def nested(name: str, change: Callable[[Schema], object]) -> Callable[[Schema], None]:
    return lambda schema: (change(field_of(schema, name)["type"]["items"]), None)[1]


OPTIONAL = {"name": "new", "type": ["null", "string"], "default": None, "doc": "x."}
TIME = {"type": "long", "logicalType": "timestamp-micros"}

HARMLESS = {
    "nothing": lambda schema: None,
    "another doc": lambda schema: schema.update(doc="x"),
    "an optional field more": add(OPTIONAL),
    "a field with a default more": add({"name": "new", "type": "int", "default": 0}),
    "an optional field less": drop("dossier_code"),
    "an optional field more in a nested record": nested("fees", add(OPTIONAL)),
    "a symbol more": enum("kind", lambda e: e["symbols"].append("merger")),
    "a symbol less": enum("kind", lambda e: e["symbols"].remove("gap")),
    "fields in another order": lambda schema: schema["fields"].insert(0, schema["fields"].pop()),
    "a symbol more and no default any longer": enum(
        "kind", lambda e: (e["symbols"].append("merger"), e.pop("default"))
    ),
}
REFUSED = {
    "a mandatory field more": (add({"name": "new", "type": "int"}), "new: not written"),
    "a mandatory field less": (drop("read_seq"), "read_seq: not written"),
    "a mandatory field becomes optional": (
        retype("cursor", ["null", "string"]),
        "null cannot be read as string",
    ),
    "another type": (retype("cursor", "long"), "string cannot be read as long"),
    "a smaller number": (retype("read_seq", "int"), "long cannot be read as int"),
    "another unit of time": (
        retype("effective_at", {"type": "long", "logicalType": "timestamp-millis"}),
        "timestamp-millis cannot be read as timestamp-micros",
    ),
    "a time becomes a number": (
        retype("effective_at", "long"),
        "long cannot be read as timestamp-micros",
    ),
    "another record name": (lambda s: s.update(name="Happening"), "vn.thongsuot.Happening"),
    "another namespace": (lambda s: s.update(namespace="vn.elsewhere"), "vn.elsewhere"),
    "a symbol less, without the default": (
        enum("kind", lambda e: (e["symbols"].remove("gap"), e.pop("default"))),
        "unknown symbols gap",
    ),
    "a mandatory field more in a nested record": (
        nested("fees", add({"name": "new", "type": "int"})),
        "fees[].new: not written",
    ),
    "an optional record becomes another": (
        lambda s: field_of(s, "step")["type"][1].update(name="Stage"),
        "vn.thongsuot.Stage cannot be read as",
    ),
    "an optional text becomes an optional number": (
        retype("dossier_code", ["null", "int"]),
        "no branch reads string",
    ),
    "a list becomes a text": (retype("fallbacks", "string"), "array cannot be read as string"),
    "items of another type": (
        retype("fallbacks", {"type": "array", "items": "int"}),
        "fallbacks[]: string cannot be read as int",
    ),
    "a default that is none": (
        add({"name": "new", "type": "int", "default": "0"}),
        "must match schema type",
    ),
    "a default symbol that is none": (
        enum("kind", lambda e: e.update(default="nobody")),
        "",
    ),
}
OURS_ALONE = {  # the specification leaves these to the user; the hub does not
    "another namespace",
    "another unit of time",
    "a time becomes a number",
    "a default that is none",
    "a default symbol that is none",
}


def mutated(change: Callable[[Schema], object]) -> Schema:
    schema = copy.deepcopy(EVENT)
    change(schema)
    return schema


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_taken(name: str) -> None:
    new = mutated(HARMLESS[name])
    assert check_versions([EVENT, new]) == []
    assert avro_can_read(new, EVENT)
    assert avro_can_read(EVENT, new)


@pytest.mark.parametrize("name", REFUSED)
def test_a_harmful_change_is_refused_and_named(name: str) -> None:
    change, says = REFUSED[name]
    new = mutated(change)
    problems = check_versions([EVENT, new])
    assert any(says in problem for problem in problems), problems
    if name not in OURS_ALONE:
        assert not (avro_can_read(new, EVENT) and avro_can_read(EVENT, new))


def test_the_third_version_is_checked_against_the_first_too() -> None:
    """v2 drops an optional field, v3 brings its name back as a number: each step alone looks fine."""
    v2 = mutated(drop("dossier_code"))
    v3 = copy.deepcopy(v2)
    add({"name": "dossier_code", "type": ["null", "int"], "default": None})(v3)
    assert check_versions([EVENT, v2]) == []
    assert check_versions([v2, v3]) == []
    problems = check_versions([EVENT, v2, v3])
    assert problems
    assert all(problem.startswith("v1 and v3: ") for problem in problems)


@pytest.mark.parametrize(
    "schema", [{}, {"type": "record"}, "nonsense", 7, {"type": "record", "name": "X", "fields": 3}]
)
def test_what_is_no_schema_is_named(schema: Any) -> None:
    (problem,) = check_versions([EVENT, schema])
    assert problem.startswith("v2: no Avro schema")


def test_a_schema_that_holds_itself_can_be_compared() -> None:
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [{"name": "leaves", "type": {"type": "array", "items": "Tree"}}],
    }
    assert incompatible(tree, copy.deepcopy(tree)) == []


@pytest.mark.parametrize(
    ("reader", "writer", "readable"),
    [
        ("long", "int", True),
        ("int", "long", False),
        ("double", "float", True),
        ("bytes", "string", True),
        (["null", "long"], "int", True),
        ("long", ["null", "long"], False),
        (["null", "long", "string"], ["string", "null"], True),
        ({"type": "map", "values": "long"}, {"type": "map", "values": "int"}, True),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "string"}, False),
        (
            {"type": "fixed", "name": "F", "size": 4},
            {"type": "fixed", "name": "F", "size": 5},
            False,
        ),
    ],
)
def test_the_specifications_rules_of_resolution(reader: Any, writer: Any, readable: bool) -> None:
    assert (unreadable(reader, writer) == []) is readable
    assert avro_can_read(reader, writer) is readable


@given(event=DOSSIER_EVENTS, name=st.sampled_from(sorted(HARMLESS)))
@settings(max_examples=60)
def test_what_is_called_harmless_is_read_in_both_directions(event: DossierEvent, name: str) -> None:
    new = mutated(HARMLESS[name])
    old, newer = parse_schema(copy.deepcopy(EVENT)), parse_schema(copy.deepcopy(new))
    datum = to_avro(event) | {"dossier_code": None, "kind": "change"}
    for writer, reader in ((old, newer), (newer, old)):
        body = BytesIO()
        schemaless_writer(body, writer, datum)
        body.seek(0)
        read = schemaless_reader(body, writer, reader)
        assert isinstance(read, dict)
        assert read["dossier_id"] == event.dossier_id
        assert body.read() == b""
