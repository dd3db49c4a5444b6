"""The province's agencies: who is beneath whom on which day, and what became of those that were closed.

Which agencies there are is the province's own business, so no table is packaged: `read_agencies` takes a
file. A line holds in [valid_from, valid_to), so that an agency that was put under another parent has two.

On 1 July 2025 the districts were abolished and communes merged. A unit that was closed in favour of one other
counts in that one's row, for every period that ends after the closing and for the whole of it: the portal
lists the units that there are, and knows no other row for the dossiers of one that there is no more
(inferred: no published month had a merger in it). A unit that was split keeps its own row, for which of its
dossiers went where is not known here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import combinations
from pathlib import Path

from schemas.dossier.csv_table import Row, Table, text_of

COLUMNS = ("code", "name", "parent", "kind", "valid_from", "valid_to", "successor")


class AgencyKind(StrEnum):
    """What an agency is."""

    PROVINCE = "province"  # Ủy ban nhân dân tỉnh
    DEPARTMENT = "department"  # sở, ban, ngành
    DISTRICT = "district"  # cấp huyện, đến hết 30/06/2025
    COMMUNE = "commune"  # xã, phường, đặc khu
    UNIT = "unit"  # đơn vị trực thuộc một cơ quan


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """One line: an agency as it is in [valid_from, valid_to). Only the root has no parent.

    `successors` are the agencies in whose favour it was closed on `valid_to`.
    """

    code: str
    name: str
    parent: str | None
    kind: AgencyKind
    valid_from: date | None = None
    valid_to: date | None = None
    successors: tuple[str, ...] = ()

    def in_force(self, day: date) -> bool:
        """Whether the line holds on that day."""
        return self.begins <= day < self.ends

    @property
    def begins(self) -> date:
        """`valid_from`, or the first day that there is."""
        return self.valid_from or date.min

    @property
    def ends(self) -> date:
        """`valid_to`, or the last day that there is."""
        return self.valid_to or date.max


class Agencies:
    """The lines of a directory. Immutable. Codes are those of Decision 20/2020, as the portal is told them."""

    def __init__(self, rows: Iterable[Agency]) -> None:
        """`rows` are as `parse_agencies` checks them. Raises `ValueError` without exactly one root."""
        self.rows = tuple(rows)
        self._lines = _by_code(self.rows)
        roots = sorted({row.code for row in self.rows if row.parent is None})
        if len(roots) != 1:
            raise ValueError(f"rows: exactly one agency has no parent, not {roots or 'none'}")
        self.root = roots[0]
        self._heads: dict[date, Mapping[str, str | None]] = {}

    @property
    def codes(self) -> frozenset[str]:
        """The codes of all agencies, also of closed ones."""
        return frozenset(self._lines)

    def line(self, code: str, on: date) -> Agency:
        """The line of a day: the one in force, else the last before, else the first after.

        Raises `KeyError` for a code that is not there.
        """
        lines = self._lines[code]
        begun = [line for line in lines if line.begins <= on]
        return begun[-1] if begun else lines[0]

    def name(self, code: str) -> str | None:
        """The newest name; None for a code that is not there."""
        return self._lines[code][-1].name if code in self._lines else None

    def is_there(self, code: str, on: date) -> bool:
        """Whether the agency exists on that day."""
        return code in self._lines and self.line(code, on).in_force(on)

    def counted_as(self, code: str, on: date) -> str:
        """In whose row an agency's dossiers count at the end of a period: its own, or its sole successor's.

        Raises `KeyError` for a code that is not there.
        """
        line = self.line(code, on)
        while line.ends <= on and len(line.successors) == 1:
            line = self.line(line.successors[0], on)  # ends later than the one that it succeeds
        return line.code

    def children(self, code: str, on: date) -> tuple[str, ...]:
        """The agencies with a row of their own directly beneath one, by code, as it stands on a day.

        Those that were split, and those that begin later, are among them. Raises as `counted_as`.
        """
        of = self.counted_as(code, on)
        return tuple(sorted(head for head, parent in self._parents(on).items() if parent == of))

    def with_children(self, code: str, on: date) -> frozenset[str]:
        """The codes that count as one agency or as anything beneath it. Raises as `counted_as`."""
        below: set[str] = set()
        waiting = [self.counted_as(code, on)]
        children: dict[str | None, list[str]] = defaultdict(list)
        for head, parent in self._parents(on).items():
            children[parent].append(head)
        while waiting:
            head = waiting.pop()
            below.add(head)
            waiting += children[head]
        return frozenset(one for one in self._lines if self.counted_as(one, on) in below)

    def merged_into(self, code: str, on: date) -> tuple[str, ...]:
        """The other codes that count in the row of this one, by code."""
        return tuple(
            sorted(one for one in self._lines if one != code and self.counted_as(one, on) == code)
        )

    def _parents(self, on: date) -> Mapping[str, str | None]:
        """By the codes that have a row of their own: in whose row they are, which is there on that day."""
        if on not in self._heads:
            heads = sorted({self.counted_as(code, on) for code in self._lines})
            self._heads[on] = {code: self._parent(code, on) for code in heads}
        return self._heads[on]

    def _parent(self, code: str, on: date) -> str | None:
        """The nearest agency above that is there; else the root, which is above all."""
        seen = {code}
        at = code
        while (above := self.line(at, on).parent) is not None:
            at = self.counted_as(above, on)
            if at in seen:  # lines of different times may go round in a circle
                break
            if self.is_there(at, on):
                return at
            seen.add(at)
        return None if code == self.root else self.root


def _by_code(rows: Iterable[Agency]) -> dict[str, tuple[Agency, ...]]:
    """The lines of each code, oldest first."""
    lines: dict[str, list[Agency]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.code, row.begins)):
        lines[row.code].append(row)
    return {code: tuple(of) for code, of in lines.items()}


def _above(code: str, parents: Mapping[str, str | None]) -> list[str]:
    """Everything above a code, up to the first that comes again."""
    found: list[str] = []
    at = parents.get(code)
    while at is not None and at not in found:
        found.append(at)
        at = parents.get(at)
    return found


# --- reading ---------------------------------------------------------------------------------------


def read_agencies(path: Path) -> Agencies:
    """The directory in a file. Raises `TableError`."""
    return parse_agencies(text_of(path), str(path))


def parse_agencies(text: str, where: str) -> Agencies:
    """The directory in `text`; `where` names it in messages.

    Raises `TableError`: for fields that cannot be read; several agencies without a parent, or none; two
    lines of one code on the same day; a parent that is not in the file, or not there for as long as its
    child; a circle; a successor of an agency that was not closed, or one that is not there when it is.
    """
    table = Table(text, where, COLUMNS)
    read = [(row, agency) for row in table.rows if (agency := _agency(row)) is not None]
    table.finish()
    lines = _by_code(agency for _, agency in read)
    _check_root(table, read)
    _check_doubles(read)
    for row, agency in read:
        _check_parent(row, agency, lines)
        _check_successors(row, agency, lines)
    _check_circles(read)
    table.finish()
    return Agencies(agency for _, agency in read)


def _agency(row: Row) -> Agency | None:
    kinds = [kind.value for kind in AgencyKind]
    code = row.needed("code", _code, *_CODE_REMEDY)
    name = row.needed("name", str, "viết tên cơ quan", "write the name of the agency")
    parent = row.optional("parent", _code, *_CODE_REMEDY)
    kind = row.needed(
        "kind",
        lambda text: AgencyKind(text) if text in kinds else None,
        f"chọn một trong {', '.join(kinds)}",
        f"choose one of {', '.join(kinds)}",
    )
    valid_from, valid_to = row.optional_day("valid_from"), row.optional_day("valid_to")
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        vi = "phải sau valid_from; đó là ngày đầu tiên không còn cơ quan này"
        row.problem("valid_to", vi, "must be later than valid_from; it is the first day without it")
    if code is None or name is None or kind is None:
        return None
    return Agency(
        code=code,
        name=name,
        parent=parent,
        kind=kind,
        valid_from=valid_from,
        valid_to=valid_to,
        successors=tuple(dict.fromkeys(row.text("successor").split())),
    )


_CODE_REMEDY = (
    "viết mã định danh không có khoảng trắng, ví dụ H12.07",
    "write an identification code without blanks, for instance H12.07",
)


def _code(text: str) -> str | None:
    return None if text.split() != [text] else text


def _check_root(table: Table, read: Sequence[tuple[Row, Agency]]) -> None:
    tops = [(row, agency) for row, agency in read if agency.parent is None]
    if not tops:
        vi = "không có cơ quan gốc; để trống parent ở dòng của UBND tỉnh"
        table.add(vi, "has no root; leave parent empty in the line of the province")
        return
    first, root = tops[0]
    for row, agency in tops[1:]:
        if agency.code != root.code:
            vi = f"để trống; chỉ cơ quan gốc (dòng {first.line}, {root.code}) không có cơ quan cha"
            en = f"is empty; only the root has no parent, which is line {first.line}, {root.code}"
            row.problem("parent", vi, en)


def _check_doubles(read: Sequence[tuple[Row, Agency]]) -> None:
    same: dict[str, list[tuple[Row, Agency]]] = defaultdict(list)
    for row, agency in read:
        same[agency.code].append((row, agency))
    for several in same.values():
        for (earlier, one), (row, other) in combinations(several, 2):
            if one.begins >= other.ends or other.begins >= one.ends:
                continue
            if one.parent != other.parent:
                vi = f"hai cơ quan cha cùng lúc (dòng {earlier.line}); ghi ngày để hai dòng nối tiếp nhau"
                en = f"a second parent on the same day (line {earlier.line}); give days so that one line follows the other"
                row.problem("parent", vi, en)
            else:
                vi = f"trùng thời gian với dòng {earlier.line}; sửa valid_from, valid_to"
                en = f"overlaps with line {earlier.line}; change valid_from or valid_to"
                row.problem("code", vi, en)


def _check_parent(row: Row, agency: Agency, lines: Mapping[str, Sequence[Agency]]) -> None:
    if agency.parent is None:
        return
    if agency.parent not in lines:
        vi = f"{agency.parent} không có trong tệp; thêm dòng cho cơ quan đó hoặc sửa mã"
        row.problem("parent", vi, f"{agency.parent} is not in the file; add it, or mend the code")
        return
    alone = _first_alone(agency, lines[agency.parent])
    if alone is not None:
        when = (
            ("lúc đầu", "at the beginning")
            if alone == date.min
            else (f"từ {alone}", f"from {alone} on")
        )
        vi = f"{when[0]} không có cơ quan cha {agency.parent}; thêm dòng với cơ quan cha mới từ ngày đó, hoặc ghi valid_to"
        en = f"{when[1]} there is no parent {agency.parent}; add a line with the new parent from that day, or give valid_to"
        row.problem("parent", vi, en)


def _first_alone(agency: Agency, parents: Sequence[Agency]) -> date | None:
    """The first day of an agency on which none of the parent's lines is in force."""
    day = agency.begins
    for line in parents:
        if line.begins <= day < line.ends:
            day = line.ends
    return day if day < agency.ends else None


def _check_successors(row: Row, agency: Agency, lines: Mapping[str, Sequence[Agency]]) -> None:
    if agency.successors and agency.valid_to is None:
        vi = "có cơ quan kế tục mà chưa ghi ngày thôi hoạt động; ghi valid_to"
        row.problem("successor", vi, "is given for an agency that goes on; give valid_to")
        return
    if agency.successors and any(line.in_force(agency.ends) for line in lines[agency.code]):
        vi = f"cơ quan vẫn hoạt động từ {agency.ends} theo dòng khác; bỏ cơ quan kế tục"
        row.problem("successor", vi, f"goes on from {agency.ends} by another line; leave it empty")
        return
    for successor in agency.successors:
        if successor not in lines:
            vi = f"{successor} không có trong tệp; thêm dòng hoặc sửa mã (nhiều mã cách nhau bằng dấu cách)"
            en = f"{successor} is not in the file; add it, or mend the code (several are separated by blanks)"
            row.problem("successor", vi, en)
        elif not any(line.in_force(agency.ends) for line in lines[successor]):
            vi = f"{successor} chưa hoặc không còn hoạt động ngày {agency.ends}; sửa ngày hoặc mã"
            en = f"{successor} is not there on {agency.ends}; mend the day or the code"
            row.problem("successor", vi, en)


def _check_circles(read: Sequence[tuple[Row, Agency]]) -> None:
    """Each circle once, at its first line."""
    told: set[frozenset[str]] = set()
    for day in sorted({agency.begins for _, agency in read}):
        parents = {agency.code: agency.parent for _, agency in read if agency.in_force(day)}
        for row, circle in _circles(read, day, parents):
            if frozenset(circle) not in told:
                told.add(frozenset(circle))
                way = " > ".join([*circle, circle[0]])
                vi = f"vòng tròn {way}; sửa cơ quan cha của một dòng"
                row.problem("parent", vi, f"goes round in a circle: {way}; mend one of the parents")


def _circles(
    read: Sequence[tuple[Row, Agency]], day: date, parents: Mapping[str, str | None]
) -> Iterator[tuple[Row, list[str]]]:
    for row, agency in read:
        above = _above(agency.code, parents) if agency.in_force(day) else []
        if agency.code in above:
            yield row, [agency.code, *above[: above.index(agency.code)]]
