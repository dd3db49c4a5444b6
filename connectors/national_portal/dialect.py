"""Dialects: everything about the portal's contract that may differ, as a table.

A dialect is a TOML file; `dialects/adapter.toml` is the packaged one, and a province may give its own by
configuration. This module holds the table's types, reads it, and turns neutral records (canonical field
names, Python values) into wire values. It knows no transport.

Paths are wire names joined by ".", relative to the operation's wrapper element (or to the record).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from connectors.errors import RejectedError
from connectors.protocols import Abilities, Lookup, StepsUnknown
from schemas.dossier.status import Status
from schemas.reasons import Reason

Scalar = str | int | bool | datetime | StrEnum | None
Item = Mapping[str, Scalar]
Record = Mapping[str, "Scalar | Sequence[Item]"]
"""Canonical field name -> value; a sequence of items for the lists."""

OperationName = Literal[
    "login", "create", "update", "steps", "look_up", "procedures", "procedure", "agencies"
]
OPERATIONS: tuple[OperationName, ...] = get_args(OperationName)

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EARLIEST_YEAR = 1900  # below 1000 strftime would write fewer than four digits


class DialectError(ValueError):
    """A dialect file cannot be read. The text names the file, the key and the remedy."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldSpec(_Table):
    """Where one field goes and how it is written."""

    path: str
    max_length: int | None = None  # characters
    codes: str | None = None  # name of a code list, for values that are codes
    flag: tuple[str, str] | None = None  # (false, true), where it differs from `values`

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class ListSpec(_Table):
    """A repeated part of a record; a single field with the path "" means items without parts."""

    path: str
    fields: dict[str, FieldSpec]


class MandatorySpec(_Table):
    """Canonical fields that must not be empty: always, and by canonical status."""

    always: tuple[str, ...] = ()
    statuses: dict[Status, tuple[str, ...]] = {}


class RecordSpec(_Table):
    """One record of a write: the dossier, or a step."""

    fields: dict[str, FieldSpec]
    lists: dict[str, ListSpec] = {}
    mandatory: MandatorySpec = MandatorySpec()


class OperationSpec(_Table):
    """One operation: its name in the WSDL and what its wrapper holds.

    `fixed` maps paths to texts, in which {session}, {agency}, {username}, {password} and {code} are
    filled in. `record` is the path of the record(s).
    """

    name: str
    fixed: dict[str, str] = {}
    record: str | None = None
    many: bool = True  # the record's element is repeated


class AnswerSpec(_Table):
    """Where an answer says yes or no. Codes are compared trimmed, numbers as numbers ("00" = 0)."""

    code: str
    message: str
    success_codes: tuple[str, ...]
    success_text: str | None = None  # a yes must also contain this text
    session: str  # path of the session in the login's answer
    dossier: str | None = None  # path of the dossier's code, where answers to writes name it
    reference: str | None = None  # path of the portal's own reference, where it gives one

    @field_validator("success_codes")
    @classmethod
    def _normalise(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(code for each in codes if (code := normal_code(each)))


class ErrorRule(_Table):
    """One row of the error table: what a code and/or a text (case-insensitive part) means."""

    reason: Reason
    operations: tuple[OperationName, ...] = OPERATIONS
    code: str | None = None
    text: str | None = None
    despite_success: bool = False  # holds even if the code is one of success


class FaultRule(_Table):
    """What a fault code means: local name, or a beginning of it ending in "*"."""

    code: str
    reason: Reason


class StepListSpec(_Table):
    """Where a look-up lists steps."""

    path: str
    time: str
    officer: str
    status: str
    text: str


class LookUpSpec(_Table):
    """How to read the answer of a look-up."""

    items: str  # path of the list of dossiers found
    present: str | None = None  # path of a text that says whether it is there, instead of counting
    present_values: tuple[str, ...] = ()
    code: str | None = None  # path, in an item, of the dossier's code
    state: dict[str, str] = {}  # neutral name -> path in an item
    counts: dict[str, str] = {}  # neutral name -> path in an item of a list that is counted
    steps: StepListSpec | None = None


class CatalogueSpec(_Table):
    """How to read a catalogue: a list of items, neutral name -> path in an item."""

    items: str
    fields: dict[str, str]


class ValuesSpec(_Table):
    """How values are written."""

    date_format: str
    zone: str = "Asia/Ho_Chi_Minh"
    true: str
    false: str
    send_empty: bool  # an absent scalar is written as an empty element; else it is left out


class XRoadSpec(_Table):
    """The SOAP header."""

    headers: bool = True
    echo: bool = True  # the answer must bring our message id back
    issue: bool = True  # the dossier's code travels as `issue`


class AbilitiesSpec(_Table):
    """What the target can be asked and trusted with; see the README. Times in seconds."""

    lookup: Lookup = Lookup.EXISTENCE
    lookup_lag: float = 5.0
    late_effect_bound: float = 60.0
    steps_dedup: bool = False
    steps_chunk_max: int = Field(default=10, ge=1)
    steps_chunk_atomic: bool = False
    steps_unknown: StepsUnknown = StepsUnknown.PARK
    verify_after: float | None = None  # None: three times late_effect_bound


class Dialect(_Table):
    """One whole dialect."""

    name: str
    wsdl: str | None = None  # WSDL beside the dialect file; None: the packaged one
    binding: str | None = None  # "{namespace}name"; None: that of the WSDL's first port
    xroad: XRoadSpec = XRoadSpec()
    values: ValuesSpec
    codes: dict[str, dict[str, str]]
    operations: dict[OperationName, OperationSpec]
    answer: AnswerSpec
    errors: tuple[ErrorRule, ...] = ()
    faults: tuple[FaultRule, ...] = ()
    dossier: RecordSpec
    step: RecordSpec
    look_up: LookUpSpec
    catalogues: dict[Literal["procedures", "procedure", "agencies"], CatalogueSpec]
    abilities_: AbilitiesSpec = Field(default=AbilitiesSpec(), alias="abilities")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in OPERATIONS if name not in self.operations]
        if missing:
            raise ValueError(f"operations: no entry for {', '.join(missing)}")
        records = (self.dossier, self.step)
        specs = [s for record in records for s in record.fields.values()]
        specs += [s for r in records for each in r.lists.values() for s in each.fields.values()]
        unknown = sorted({s.codes for s in specs if s.codes and s.codes not in self.codes})
        if unknown:
            raise ValueError(f"codes: no list {', '.join(unknown)}, which a field refers to")
        gaps = [status.value for status in Status if status not in self.codes.get("status", {})]
        if gaps:
            raise ValueError(f"codes.status: no code for {', '.join(gaps)}")
        for record in records:
            named = {*record.mandatory.always, *chain(*record.mandatory.statuses.values())}
            if stray := sorted(named - record.fields.keys()):
                raise ValueError(f"mandatory: no field {', '.join(stray)}")
        try:
            ZoneInfo(self.values.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"values.zone: {self.values.zone!r} is no time zone") from None
        return self

    @property
    def abilities(self) -> Abilities:
        """The abilities as the engine reads them."""
        return Abilities(**self.abilities_.model_dump())

    def calls(self) -> Sequence[tuple[str, OperationSpec]]:
        """Every operation by its name here."""
        return tuple(self.operations.items())

    def paths(self, operation: str) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
        """What must be in the WSDL, of the request and of the answer: (where it begins, path)."""
        (spec,) = (spec for name, spec in self.operations.items() if name == operation)
        asked = [("", where) for where in spec.fixed]
        told = [("", self.answer.code), ("", self.answer.message)]
        if spec.record is not None:
            front = spec.record
            record = self.step if operation == "steps" else self.dossier
            asked.append(("", front))
            asked += [(front, field.path) for field in record.fields.values()]
            for each in record.lists.values():
                asked.append((front, each.path))
                asked += [(f"{front}.{each.path}", part.path) for part in each.fields.values()]
        if operation == "login":
            told.append(("", self.answer.session))
        if operation == "look_up":
            told.append(("", self.look_up.items))
            told += [(self.look_up.items, where) for where in self.look_up.state.values()]
        return asked, told


def load_dialect(name_or_path: str) -> Dialect:
    """A packaged dialect by name, or the one in a file. Raises `DialectError`.

    A relative `wsdl` of a file is made absolute against the file's folder.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as exc:
            raise DialectError(
                f"dialect file {path}: {exc.strerror or 'cannot be read'}; set an existing file"
            ) from None
        return _parse(text, str(path), path.parent)
    packaged = resources.files(__package__) / "dialects" / f"{name_or_path}.toml"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name_or_path) or not packaged.is_file():
        raise DialectError(
            f"dialect {name_or_path!r}: no packaged dialect has this name; "
            "give the path of a file that ends in .toml"
        )
    return _parse(packaged.read_text(encoding="utf-8"), name_or_path, None)


def _parse(text: str, where: str, folder: Path | None) -> Dialect:
    try:
        table = tomllib.loads(text)
        if folder is not None and isinstance(table.get("wsdl"), str):
            table["wsdl"] = str((folder / table["wsdl"]).resolve())
        return Dialect.model_validate(table)
    except tomllib.TOMLDecodeError as exc:
        raise DialectError(f"dialect {where}: no TOML: {exc}") from None
    except ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']) or 'table'}: {error['msg']}"
            for error in exc.errors(include_input=False, include_url=False)
        )
        raise DialectError(f"dialect {where}: {problems}") from None


Fields = Sequence[tuple[str, FieldSpec, tuple[str, ...]]]
"""Canonical name, specification and split path of each field."""


class Encoder:
    """Writes one kind of record in a dialect's words, checking every field before anything is sent."""

    def __init__(self, dialect: Dialect, record: RecordSpec) -> None:
        self._dialect = dialect
        self._spec = record
        self._zone = ZoneInfo(dialect.values.zone)
        self._scalars = [
            (name, spec, tuple(spec.path.split("."))) for name, spec in record.fields.items()
        ]
        self._lists = [
            (
                name,
                tuple(spec.path.split(".")),
                [(key, field, tuple(field.path.split("."))) for key, field in spec.fields.items()],
                spec.path,
            )
            for name, spec in record.lists.items()
        ]

    def encode(self, record: Record, status: Status) -> dict[str, object]:
        """The record as nested wire names. Raises `RejectedError`, which names the field."""
        self._require(record, status)
        wire: dict[str, object] = {}
        self._write(wire, self._scalars, record, "")
        for name, path, fields, prefix in self._lists:
            items = record.get(name)
            if items and not isinstance(items, (str, int, datetime)):
                put(wire, path, [self._item(fields, item, prefix) for item in items])
        return wire

    def _item(self, fields: Fields, item: Item, prefix: str) -> object:
        if len(fields) == 1 and not fields[0][1].path:  # the item is one scalar
            return self._text(fields[0][1], prefix, item.get(fields[0][0]))
        entry: dict[str, object] = {}
        self._write(entry, fields, item, prefix + ".")
        return entry

    def text(self, name: str, value: Scalar) -> str:
        """One scalar field as it would be written, checked. Raises `RejectedError`."""
        spec = self._spec.fields[name]
        return self._text(spec, spec.path, value)

    def _require(self, record: Record, status: Status) -> None:
        mandatory = self._spec.mandatory
        for name in (*mandatory.always, *mandatory.statuses.get(status, ())):
            value = record.get(name)
            if value is None or (isinstance(value, str) and not value.strip()):
                spec = self._spec.fields[name]
                code = self._dialect.codes["status"][status]
                raise RejectedError(
                    Reason.FIELD_MISSING, f"field={spec.path} status={code}", field=spec.path
                )

    def _write(
        self,
        wire: dict[str, object],
        fields: Fields,
        record: Record | Item,
        prefix: str,
    ) -> None:
        empty = self._dialect.values.send_empty
        for name, spec, path in fields:
            value = record.get(name)
            if value is None or value == "":
                if not empty:
                    continue
                text = ""
            else:
                text = self._text(spec, prefix + spec.path, value)
            if len(path) == 1:
                wire[path[0]] = text
            else:
                put(wire, path, text)

    def _text(self, spec: FieldSpec, label: str, value: object) -> str:
        match value:
            case StrEnum():
                text = self._dialect.codes[spec.codes or ""].get(value.value)
                if text is None:
                    raise _invalid(label, f"code={value.value}: not in the code list {spec.codes}")
            case bool():
                text = (spec.flag or (self._dialect.values.false, self._dialect.values.true))[value]
            case int():
                text = str(value)
            case datetime():
                text = self._time(label, value)
            case str():
                text = value
            case _:
                text = ""
        if spec.max_length is not None and len(text) > spec.max_length:
            raise RejectedError(
                Reason.FIELD_TOO_LONG,
                f"field={label} length={len(text)} limit={spec.max_length}",
                field=label,
            )
        if _NOT_XML.search(text):
            raise _invalid(label, "a character that XML cannot carry; correct it at the source")
        return text

    def _time(self, label: str, value: datetime) -> str:
        if value.tzinfo is None:
            raise _invalid(label, "a time without a zone")
        if value.year < _EARLIEST_YEAR:
            raise _invalid(label, f"year={value.year}")
        return value.astimezone(self._zone).strftime(self._dialect.values.date_format)


def _invalid(label: str, detail: str) -> RejectedError:
    return RejectedError(Reason.FIELD_INVALID, f"field={label} {detail}", field=label)


def put(wire: dict[str, object], path: Sequence[str], value: object) -> None:
    """Set `value` at `path`, making the levels in between."""
    for part in path[:-1]:
        level = wire.setdefault(part, {})
        assert isinstance(level, dict)
        wire = level
    wire[path[-1]] = value


def replaced(wire: Mapping[str, object], path: str, value: object) -> dict[str, object]:
    """A copy of `wire` with `value` at `path`; the rest is shared."""
    name, _, below = path.partition(".")
    if not below:
        return {**wire, name: value}
    level = wire.get(name)
    return {**wire, name: replaced(level if isinstance(level, Mapping) else {}, below, value)}


def get(value: object, path: str) -> object:
    """What stands at `path` in nested mappings, or ``None``. "" is the value itself."""
    for part in path.split(".") if path else ():
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def get_text(value: object, path: str) -> str | None:
    """The scalar at `path` as trimmed text; ``None`` where nothing stands."""
    found = get(value, path)
    return None if found is None or isinstance(found, (Mapping, list)) else str(found).strip()


def get_items(value: object, path: str) -> list[Mapping[str, object]]:
    """The items at `path`, whether the contract repeats the element or not; empty ones are left out."""
    found = get(value, path)
    candidates = found if isinstance(found, list) else [found]
    return [item for item in candidates if isinstance(item, Mapping) and any(item.values())]


def normal_code(text: str | None) -> str | None:
    """A result code for comparison: trimmed, numbers as numbers ("00" and " 0 " are "0")."""
    if text is None or not (trimmed := text.strip()):
        return None
    try:
        return str(int(trimmed))
    except ValueError:
        return trimmed.casefold()
