"""The table of element names: canonical field -> name on the wire, and everything else that may differ.

QCVN 125:2021 fixes thirteen packets; its tables of elements are not public. The packaged `elements.toml` is
therefore NOT the regulation's own, and a province replaces it by a file of its own (setting `elements`)
without code. Every fault of a table is told, each with its place.

Paths are names joined by "."; the last may begin with "@" (an attribute in XML, a plain key in JSON). Read
this module for what a table may say, `mapping.py` for what it does.
"""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.reasons import Reason
from schemas.reports.canonical import fields_of
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import CONTENTS, ReportKey

_PACKAGED = "elements.toml"
_NAME = re.compile(r"[^\W\d][\w-]*")
"""What may be an element's name; without the colon and the dot, which have a meaning of their own."""


class ElementsError(ValueError):
    """A table cannot be used. `problems` are all that is wrong, each with its place."""

    def __init__(self, where: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"elements {where}: {'; '.join(problems)}")
        self.problems = problems


class Encoding(StrEnum):
    """How a document is written."""

    XML = "xml"
    JSON = "json"


OperationName = Literal["create", "update", "look_up", "inbox"]
OPERATIONS: tuple[OperationName, ...] = get_args(OperationName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands around every content. Of a packet that comes in, only the first three are sure."""

    message_id: str
    kind: PacketKind
    sender: str
    receiver: str | None = None
    regime: str | None = None
    form: str | None = None
    form_version: str | None = None
    period: str | None = None
    window_from: date | None = None
    window_to: date | None = None
    due_on: date | None = None
    agency: str | None = None
    revision: int | None = None
    snapshot_hash: str | None = None
    known_at: datetime | None = None
    approved_at: datetime | None = None


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldSpec(_Table):
    """Where one field stands and how it is written."""

    path: str
    max_length: int | None = Field(default=None, ge=1)  # characters
    codes: str | None = None  # name of a code list
    period: bool = False  # the name of a period, written as `periods` say
    required: bool = False  # must not be empty when it is sent

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class ListSpec(_Table):
    """A repeated element: records (`fields`, `lists`), single values (`item`), or values named by a list.

    `named_by` is a list of the packet; the n-th value belongs to its n-th entry. With `key`, every value is
    an element of its own that holds the entry's code at `key` and the value at `item`; without, the entry's
    code is the element's name. `code_list` says how codes are written, where not as they are.
    """

    path: str
    fields: dict[str, FieldSpec] = {}
    lists: dict[str, ListSpec] = {}
    item: FieldSpec | None = None
    named_by: str | None = None
    key: str | None = None
    code_list: str | None = None


class RecordSpec(_Table):
    """The fields and lists of one record."""

    fields: dict[str, FieldSpec]
    lists: dict[str, ListSpec] = {}


class PacketSpec(RecordSpec):
    """The content of one kind of packet, below `path`; "" = beside the envelope."""

    path: str
    fields: dict[str, FieldSpec] = {}


class ValuesSpec(_Table):
    """How values are written."""

    date_format: str
    moment_format: str
    zone: str = "Asia/Ho_Chi_Minh"
    true: str
    false: str
    decimal_point: Literal[".", ","] = "."
    json_native: bool = True  # numbers and truth values in JSON as such, not as text


class XmlSpec(_Table):
    """Of XML only."""

    namespace: str = ""


class PeriodSpec(_Table):
    """One writing of periods: ours and theirs, with {year}, {n} (number in the year) or {n:02}."""

    ours: str
    theirs: str


class OperationSpec(_Table):
    """One call by REST: `path` is put behind the address; {kind} {regime} {form} {period} {agency} may stand
    in it. What a look-up or the inbox asks for goes into the query.
    """

    method: Literal["POST", "PUT", "GET"]
    path: str


class RestSpec(_Table):
    """The calls, and the header that carries the attempt's id."""

    message_id_header: str = "X-Message-Id"
    create: OperationSpec
    update: OperationSpec
    look_up: OperationSpec
    inbox: OperationSpec


class SoapSpec(_Table):
    """The envelope by SOAP: operation names, and where the document stands in request and answer."""

    binding: str | None = None
    create: str
    update: str
    look_up: str
    inbox: str
    document: str
    result: str


class AnswerSpec(_Table):
    """Where an answer says yes or no, and about what. Codes are compared trimmed, without regard to case."""

    root: str
    code: str
    message: str
    success_codes: tuple[str, ...] = Field(min_length=1)
    duplicate_codes: tuple[str, ...] = ()
    """This very revision with this very content is there already: of an update, a yes."""
    message_id: str | None = None  # must echo ours, where the table names it
    message_id_required: bool = True
    about: dict[
        str, FieldSpec
    ] = {}  # fields of `ReportKey`, and revision: must echo ours where they stand
    reference: str | None = None  # the target's own number


class LookUpSpec(_Table):
    """How a look-up is asked and read. `state`: name -> where it stands; revision, hash, status."""

    root: str
    ask: dict[str, FieldSpec]
    present: str  # where it says whether the report is there
    present_values: tuple[str, ...] = Field(min_length=1)
    about: dict[str, FieldSpec] = {}
    state: dict[Literal["revision", "hash", "status"], FieldSpec]


class InboxSpec(_Table):
    """How incoming packets are asked for and listed. A packet is a document as text, or nested."""

    root: str
    cursor_ask: str
    limit_ask: str
    items: str
    number: str  # the target's number of a packet
    packet: str
    cursor: str
    more: str


ANSWERS = frozenset(
    {
        Reason.ALREADY_EXISTS,
        Reason.NOT_FOUND,
        Reason.REVISION_ORDER,
        Reason.PERIOD_REFUSED,
        Reason.FIGURES_REFUSED,
        Reason.FORM_UNKNOWN,
        Reason.REJECTED_BY_TARGET,
        Reason.CONTRACT_MISMATCH,
        Reason.ACCESS_DENIED,
        Reason.SESSION_EXPIRED,
        Reason.RATE_LIMITED,
        Reason.TARGET_UNAVAILABLE,
        Reason.SERVER_FAULT,
    }
)
"""What an answer's code can mean."""


class ErrorRule(_Table):
    """What a code and/or a part of the text (without regard to case) means; the first that fits."""

    reason: Reason
    operations: tuple[OperationName, ...] = OPERATIONS
    code: str | None = None
    text: str | None = None

    @field_validator("reason", mode="before")
    @classmethod
    def _known(cls, reason: object) -> object:
        if reason not in ANSWERS:
            raise ValueError(f"{reason!r} is none of {', '.join(sorted(ANSWERS))}")
        return reason

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.code is None and self.text is None:
            raise ValueError("code or text: one of them is needed")
        return self


class Elements(_Table):
    """One whole table."""

    name: str
    source: str = Field(min_length=10)  # where the names come from, and how sure that is
    root: str
    values: ValuesSpec
    xml: XmlSpec = XmlSpec()
    codes: dict[str, dict[str, str]]
    periods: tuple[PeriodSpec, ...] = ()
    envelope: RecordSpec
    packets: dict[PacketKind, PacketSpec]
    answer: AnswerSpec
    look_up: LookUpSpec
    inbox: InboxSpec
    errors: tuple[ErrorRule, ...] = ()
    rest: RestSpec
    soap: SoapSpec | None = None

    @field_validator("codes")
    @classmethod
    def _both_ways(cls, lists: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        twice = [
            f"{name}: {code!r} stands for two words"
            for name, codes in lists.items()
            for code in sorted({each for each in codes.values()})
            if list(codes.values()).count(code) > 1
        ]
        if twice:
            raise ValueError("; ".join(twice))
        return lists

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problems = list(_problems(self))
        if problems:
            raise _Several(tuple(problems))
        return self


class _Several(ValueError):
    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load_elements(path: Path | None = None) -> Elements:
    """The table of a file, or the packaged one. Raises `ElementsError`."""
    if path is None:
        text = (resources.files(__package__) / _PACKAGED).read_text(encoding="utf-8")
        return parse_elements(text, _PACKAGED)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ElementsError(
            str(path), (f"{why or 'cannot be read'}; set THONGSUOT_GOV_REPORTING__ELEMENTS",)
        ) from None
    return parse_elements(text, str(path))


def parse_elements(text: str, where: str) -> Elements:
    """A table from its text. Raises `ElementsError` with every problem."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ElementsError(where, (f"no TOML: {exc}",)) from None
    try:
        return Elements.model_validate(table)
    except ValidationError as exc:
        first = exc
    problems = _told(first)
    if not any(_several(error) for error in first.errors()):
        # What has the wrong shape hides what is missing elsewhere: put the packaged parts in its place.
        mended = _mended(table, first)
        try:
            Elements.model_validate(mended)
        except ValidationError as exc:
            problems += [each for each in _told(exc) if each not in problems]
    raise ElementsError(where, tuple(problems))


def _several(error: Any) -> _Several | None:
    cause = error.get("ctx", {}).get("error")
    return cause if isinstance(cause, _Several) else None


def _told(exc: ValidationError) -> list[str]:
    problems: list[str] = []
    for error in exc.errors(include_input=False, include_url=False):
        several = _several(error)
        if several is not None:
            problems += several.problems
        else:
            place = ".".join(str(part) for part in error["loc"])
            problems.append(f"{place or 'table'}: {error['msg'].removeprefix('Value error, ')}")
    return problems


def _mended(table: dict[str, Any], exc: ValidationError) -> dict[str, Any]:
    ours = tomllib.loads((resources.files(__package__) / _PACKAGED).read_text(encoding="utf-8"))
    mended = dict(table)
    for error in exc.errors():
        section, *below = error["loc"]
        packets = mended.get("packets")
        if section == "packets" and below and isinstance(packets, dict):
            name = str(below[0])
            kept = {key: value for key, value in packets.items() if key != name}
            mended["packets"] = kept | (
                {name: ours["packets"][name]} if name in ours["packets"] else {}
            )
        elif section in ours:
            mended[str(section)] = ours[str(section)]
        else:
            mended.pop(str(section), None)
    return mended


# --- what is wrong with a table ------------------------------------------------------------------


def _problems(elements: Elements) -> Iterator[str]:
    try:
        ZoneInfo(elements.values.zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"values.zone: {elements.values.zone!r} is no time zone"
    if elements.values.true == elements.values.false:
        yield "values.true: the same text as values.false"
    yield from _period_problems(elements.periods)
    yield from _record_problems(elements, "envelope", Envelope, elements.envelope)
    for kind in PacketKind:
        spec = elements.packets.get(kind)
        if spec is None:
            yield f"packets.{kind}: no entry; all thirteen kinds are needed"
            continue
        yield from _path_problems(f"packets.{kind}.path", spec.path, empty=True)
        yield from _record_problems(elements, f"packets.{kind}", CONTENTS[kind], spec)
        yield from _collisions(elements, kind, spec)
    keys = fields_of(ReportKey)
    for place, about in (
        ("answer.about", elements.answer.about),
        ("look_up.about", elements.look_up.about),
        ("look_up.ask", elements.look_up.ask),
    ):
        for name, field in about.items():
            kind_of_field = keys.get(name, int if name == "revision" else None)
            if kind_of_field is None or (name == "revision" and place == "look_up.ask"):
                yield f"{place}.{name}: a report has no such field; it has {', '.join(keys)}"
            else:
                yield from _field_problems(elements, f"{place}.{name}", kind_of_field, field)
    for name in keys:
        if name not in elements.look_up.ask and f"{{{name}}}" not in elements.rest.look_up.path:
            yield f"look_up.ask.{name}: missing, so a look-up could not tell reports apart"
    for word, field in elements.look_up.state.items():
        wanted = {"revision": int, "hash": str, "status": str}[word]
        yield from _field_problems(elements, f"look_up.state.{word}", wanted, field)
    for name in ("create", "update"):
        if getattr(elements.rest, name).method == "GET":
            yield f"rest.{name}.method: GET cannot write; POST or PUT"
    for name in ("look_up", "inbox"):
        if getattr(elements.rest, name).method == "PUT":
            yield f"rest.{name}.method: PUT does not ask; GET or POST"


def _record_problems(
    elements: Elements,
    place: str,
    kind: type,
    spec: RecordSpec | ListSpec,
    root: type | None = None,
) -> Iterator[str]:
    """Every field of the canonical type has its place in the table, and nothing else has."""
    root = root or kind
    hints = fields_of(kind)
    for name in (*spec.fields, *spec.lists):
        if name not in hints:
            yield f"{place}.{name}: {kind.__name__} has no such field"
    for name, wanted in hints.items():
        many = get_origin(wanted) is tuple
        if many and name not in spec.lists:
            yield f"{place}.lists.{name}: missing"
        elif many:
            where = f"{place}.lists.{name}"
            yield from _list_problems(elements, where, get_args(wanted)[0], spec.lists[name], root)
        elif name not in spec.fields:
            yield f"{place}.fields.{name}: missing"
        else:
            yield from _field_problems(
                elements, f"{place}.fields.{name}", wanted, spec.fields[name]
            )
    for path in _twice(spec):
        yield f"{place}: two fields at {path!r}"


def _list_problems(
    elements: Elements, place: str, item: Any, spec: ListSpec, root: type
) -> Iterator[str]:
    yield from _path_problems(f"{place}.path", spec.path)
    if spec.code_list is not None and spec.code_list not in elements.codes:
        yield f"{place}.code_list: no code list {spec.code_list}"
    if is_dataclass(item):
        assert isinstance(item, type)
        if spec.item is not None or spec.named_by is not None:
            yield f"{place}: records have fields, no item and no named_by"
        yield from _record_problems(elements, place, item, spec, root)
        return
    if spec.fields or spec.lists or spec.item is None:
        yield f"{place}: single values need `item`, and nothing else"
        return
    yield from _field_problems(elements, f"{place}.item", item, spec.item, empty=True)
    if spec.key is not None:
        yield from _path_problems(f"{place}.key", spec.key)
        if spec.key == spec.item.path or not spec.item.path:
            yield f"{place}.item.path: a place of its own beside key is needed"
    if spec.named_by is not None and spec.named_by.split(".")[0] not in fields_of(root):
        yield f"{place}.named_by: {root.__name__} has no list {spec.named_by}"
    if spec.named_by is None and _may_be_none(item):
        yield f"{place}.named_by: missing; a value may be absent, so its place must be named"


def _field_problems(
    elements: Elements, place: str, wanted: Any, spec: FieldSpec, *, empty: bool = False
) -> Iterator[str]:
    yield from _path_problems(f"{place}.path", spec.path, empty=empty)
    if spec.codes is not None and spec.codes not in elements.codes:
        yield f"{place}.codes: no code list {spec.codes}"
        return
    for kind in _alternatives(wanted):
        if isinstance(kind, type) and issubclass(kind, Enum):
            if spec.codes is None:
                yield f"{place}.codes: missing; {kind.__name__} has words, not codes"
            else:
                known = elements.codes[spec.codes]
                gaps = [each.value for each in kind if each.value not in known]
                if gaps:
                    yield f"codes.{spec.codes}: no code for {', '.join(gaps)} ({place})"


def _path_problems(place: str, path: str, *, empty: bool = False) -> Iterator[str]:
    if not path:
        if not empty:
            yield f"{place}: empty"
        return
    *levels, last = path.split(".")
    if not all(_NAME.fullmatch(part) for part in (*levels, last.removeprefix("@"))):
        yield f"{place}: {path!r} is no path of element names"


def _period_problems(periods: tuple[PeriodSpec, ...]) -> Iterator[str]:
    for number, spec in enumerate(periods):
        for side in (spec.ours, spec.theirs):
            try:
                period_pattern(side)
            except ValueError as exc:
                yield f"periods[{number}]: {exc}"
        if ("{n" in spec.ours) != ("{n" in spec.theirs):
            yield f"periods[{number}]: the number of the period stands on one side only"


def _twice(spec: RecordSpec | ListSpec) -> list[str]:
    paths = [field.path for field in spec.fields.values()]
    paths += [each.path for each in spec.lists.values() if each.path]
    return sorted(
        {
            path
            for number, path in enumerate(paths)
            for other in (*paths[:number], *paths[number + 1 :])
            if path == other or path.startswith(other + ".")
        }
    )


def _collisions(elements: Elements, kind: PacketKind, spec: PacketSpec) -> Iterator[str]:
    """A content must not stand where the envelope does."""
    outer = [field.path for field in elements.envelope.fields.values()]
    front = f"{spec.path}." if spec.path else ""
    inner = [front + field.path for field in spec.fields.values()]
    inner += [front + each.path for each in spec.lists.values()]
    for path in inner:
        if any(path == o or path.startswith(f"{o}.") or o.startswith(f"{path}.") for o in outer):
            yield f"packets.{kind}: {path!r} stands in the envelope too"


def _alternatives(wanted: Any) -> tuple[Any, ...]:
    if get_origin(wanted) in (types.UnionType, Union):
        return get_args(wanted)
    return (wanted,)


def _may_be_none(wanted: Any) -> bool:
    return type(None) in _alternatives(wanted)


# --- periods -------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"\{(year|n|n:02)\}")
_DIGITS = {"year": "(?P<year>[0-9]{4})", "n": "(?P<n>[0-9]{1,2})", "n:02": "(?P<n>[0-9]{2})"}


def period_pattern(template: str) -> re.Pattern[str]:
    """The pattern of one writing of periods. Raises `ValueError`."""
    pieces = _PLACEHOLDER.split(template)
    names = pieces[1::2]
    if "year" not in names:
        raise ValueError(f"{template!r} has no {{year}}")
    if len(names) != len({name[:1] for name in names}):
        raise ValueError(f"{template!r} has the same placeholder twice")
    if any("{" in text or "}" in text for text in pieces[0::2]):
        raise ValueError(f"{template!r} has a placeholder other than {{year}}, {{n}} and {{n:02}}")
    return re.compile(
        "".join(
            _DIGITS[piece] if number % 2 else re.escape(piece)
            for number, piece in enumerate(pieces)
        )
    )


def period_written(periods: tuple[PeriodSpec, ...], key: str, *, theirs: bool) -> str:
    """A period's name in the other side's writing; as it is where no row fits."""
    for spec in periods:
        source, wanted = (spec.ours, spec.theirs) if theirs else (spec.theirs, spec.ours)
        found = period_pattern(source).fullmatch(key)
        if found is not None:
            return _rewritten(wanted, {k: int(v) for k, v in found.groupdict().items() if v})
    return key


def _rewritten(template: str, parts: Mapping[str, int]) -> str:
    return _PLACEHOLDER.sub(lambda place: _filled(place[1], parts), template)


def _filled(name: str, parts: Mapping[str, int]) -> str:
    number = parts["year" if name == "year" else "n"]
    return f"{number:04}" if name == "year" else f"{number:02}" if name == "n:02" else str(number)
