"""Form II.06 of Circular 01/2020/TT-VPCP: its columns, and by what a dossier stands in which of them. Pure.

II.06a has a row per agency and sector, II.06b one per procedure; both are folded from the same leaf rows.
The columns are those of two printouts of a provincial product, and so is most of what they mean (reporting
contract §3.2, one source); where the form's text leaves something open it is a setting of `Treatment`.

All comparisons are of civil days in Viet Nam: the time of day is dropped (one source).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Self, TypeVar

from schemas.records import Channel
from schemas.reports.periods import Window
from schemas.reports.standings import Standing

K = TypeVar("K")

VERSION = 1
"""Raised whenever the code counts otherwise."""


class FormError(ValueError):
    """What is kept of a form cannot be read. The text names the field."""


class Column(StrEnum):
    """The columns that hold figures (heading beside each); the unit of all is dossiers."""

    C3 = "c3"  # Tiếp nhận: tổng số
    C4 = "c4"  # trong kỳ, trực tuyến
    C5 = "c5"  # trong kỳ, trực tiếp hoặc dịch vụ bưu chính
    C6 = "c6"  # từ kỳ trước
    C7 = "c7"  # Đã giải quyết: tổng số
    C8 = "c8"  # trước hạn
    C9 = "c9"  # đúng hạn
    C10 = "c10"  # quá hạn
    C11 = "c11"  # Đang giải quyết: tổng số
    C12 = "c12"  # trong hạn
    C13 = "c13"  # quá hạn


IDENTITIES: Mapping[Column, tuple[tuple[Column, ...], ...]] = {
    Column.C3: ((Column.C4, Column.C5, Column.C6), (Column.C7, Column.C11)),
    Column.C7: ((Column.C8, Column.C9, Column.C10),),
    Column.C11: ((Column.C12, Column.C13),),
}
"""What each of these must be the sum of. Source: inferred, standard for the form; the provincial product
counts its total as the union of what is open and what has ended."""


# --- what the form's text leaves open ----------------------------------------------------------------


class Ended(StrEnum):
    """In which column an end counts that is no result."""

    ON_TIME = "on_time"  # c9, whatever the dates
    BY_DATE = "by_date"  # c8, c9 or c10


class Held(StrEnum):
    """In which column a dossier counts whose clock stands still."""

    IN_TIME = "in_time"  # c12, whatever the dates
    BY_DATE = "by_date"  # c12 or c13
    ENDS = "ends"  # it is over on the day on which it was paused: c8, c9 or c10. Of `paused` only


class Undated(StrEnum):
    """What a dossier without a due date is."""

    IN_TIME = "in_time"  # c9 when it has ended, c12 while it is open
    LATE = "late"  # c10, c13


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """The settings for what the form's text leaves open. Raises `ValueError` for what cannot be.

    `SOURCES` says where each default comes from, and how sure it is.
    """

    supplement: Held = Held.IN_TIME
    paused: Held = Held.IN_TIME
    payment: Held = Held.IN_TIME
    withdrawn: Ended = Ended.ON_TIME
    stopped: Ended = Ended.BY_DATE
    refused: Ended = (
        Ended.BY_DATE
    )  # after it had been received; refused at reception it is in no column
    no_channel: Column = Column.C5
    no_due: Undated = Undated.IN_TIME

    def __post_init__(self) -> None:
        if Held.ENDS in (self.supplement, self.payment):
            raise ValueError("supplement, payment: only a paused dossier can have ended by it")
        if self.no_channel not in (Column.C4, Column.C5):
            raise ValueError("no_channel: c4 or c5")

    @property
    def name(self) -> str:
        """What is written beside the figures: by what was counted."""
        told = " ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"II.06 {VERSION} {told}"

    def settings(self) -> dict[str, Held | Ended | Column | Undated]:
        """Each setting by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def of(cls, written: Mapping[str, str]) -> Self:
        """From the values of `settings` as text; one that is left out has its default. Raises `ValueError`."""
        kinds = {one.name: type(getattr(cls(), one.name)) for one in fields(cls)}
        return cls(**{name: kinds[name](value) for name, value in written.items()})

    @property
    def held_in_time(self) -> frozenset[Standing]:
        """Open dossiers that are in c12 whatever the dates."""
        held = {
            Standing.WAITING_SUPPLEMENT: self.supplement,
            Standing.PAUSED: self.paused,
            Standing.PAYMENT: self.payment,
        }
        return frozenset(standing for standing, how in held.items() if how is Held.IN_TIME)

    @property
    def ended_on_time(self) -> frozenset[Standing]:
        """Dossiers that are in c9 whatever the dates."""
        ended = {
            Standing.WITHDRAWN: self.withdrawn,
            Standing.STOPPED: self.stopped,
            Standing.REFUSED: self.refused,
        }
        return frozenset(standing for standing, how in ended.items() if how is Ended.ON_TIME)


SOURCES: Mapping[str, str] = {
    "supplement": "printed note of c12; never overdue. One source (reporting contract §3.2)",
    "paused": "stays open, group 'tạm dừng' of a provincial product; in c12 by 'and other'. One source, read so",
    "payment": "stays open, the same group; in c12 inferred",
    "withdrawn": "printed note of c9: also withdrawn. One source",
    "stopped": "ends; by date as the portal judges it (Decision 766, third group of ends). Inferred",
    "refused": "as stopped: or it would leave the stock without having been dealt with. Inferred",
    "no_channel": "as the portal counts a dossier without a channel (§4.3 c). One source, of the portal",
    "no_due": "c9 and c12 of the provincial product. One source",
}
"""Of each setting: where its default comes from, and how certain that is."""


# --- one dossier ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How a dossier stands at the end of the last day of a window. `since`: from which day on it stands so."""

    standing: Standing
    since: date
    received_on: date | None
    closed_on: date | None
    due_on: date | None
    channel: str | None


def columns_of(stand: Stand, window: Window, treatment: Treatment) -> frozenset[Column]:
    """In which columns the dossier counts, each asked for itself. `form_counts` asks the same in SQL."""
    received, due = stand.received_on, stand.due_on
    if received is None or received > window.last:
        return frozenset()
    closed = stand.closed_on
    if closed is None and stand.standing is Standing.PAUSED and treatment.paused is Held.ENDS:
        closed = stand.since
    found: set[Column] = set()
    in_period = received >= window.first
    if closed is None or closed >= window.first:
        found |= {Column.C3} if in_period else {Column.C3, Column.C6}
    if in_period:
        found.add(_received_in(stand.channel, treatment))
    if closed is None:
        late = (
            _is_late(window.last, due, treatment) and stand.standing not in treatment.held_in_time
        )
        found |= {Column.C11, Column.C13 if late else Column.C12}
    elif closed >= window.first:
        found |= {Column.C7, _ended_in(stand.standing, closed, due, treatment)}
    return frozenset(found)


def _received_in(channel: str | None, treatment: Treatment) -> Column:
    if channel is None:
        return treatment.no_channel
    return Column.C4 if channel == Channel.ONLINE.value else Column.C5


def _ended_in(standing: Standing, closed: date, due: date | None, treatment: Treatment) -> Column:
    if standing in treatment.ended_on_time:
        return Column.C9
    if due is not None and closed < due:
        return Column.C8
    return Column.C10 if _is_late(closed, due, treatment) else Column.C9


def _is_late(day: date, due: date | None, treatment: Treatment) -> bool:
    return treatment.no_due is Undated.LATE if due is None else due < day


# --- figures -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """A leaf row: agency and procedure in national codes, the sector in the source's. "": not known."""

    agency: str
    sector: str
    procedure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The eleven figures of a row, each counted for itself: so the identities say something."""

    c3: int = 0
    c4: int = 0
    c5: int = 0
    c6: int = 0
    c7: int = 0
    c8: int = 0
    c9: int = 0
    c10: int = 0
    c11: int = 0
    c12: int = 0
    c13: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{c.value: self.of(c) + other.of(c) for c in Column})

    def of(self, column: Column) -> int:
        """The figure of one column."""
        figure: int = getattr(self, column.value)
        return figure

    @classmethod
    def counting(cls, columns: Iterable[Column]) -> Self:
        """One dossier that counts in these columns."""
        return cls(**{column.value: 1 for column in columns})


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenIdentity:
    """`total` is not the sum of `parts` in this row: `left` is what it is, `right` what they make."""

    total: Column
    parts: tuple[Column, ...]
    row: RowKey
    left: int
    right: int

    @property
    def name(self) -> str:
        """As people write it, e.g. "c3=c4+c5+c6"."""
        return f"{self.total}={'+'.join(self.parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormTable:
    """The leaf rows of form II.06 for a window, as known at a moment. `rules`: by what was counted.

    A row of nothing but zeros is left out.
    """

    window: Window
    known_at: datetime
    rules: str
    rows: Mapping[RowKey, Figures] = field(default_factory=dict)

    def by_agency(self) -> dict[str, Figures]:
        """By agency, in the order of the codes; "" are dossiers whose agency has no mapping."""
        return self._folded(lambda key: key.agency)

    def by_sector(self) -> dict[tuple[str, str], Figures]:
        """By agency and sector: the rows of II.06a."""
        return self._folded(lambda key: (key.agency, key.sector))

    def by_procedure(self) -> dict[str, Figures]:
        """By procedure, of all agencies together."""
        return self._folded(lambda key: key.procedure)

    def total(self) -> Figures:
        """All rows together."""
        return sum(self.rows.values(), Figures())

    def of_agency(self, agency: str) -> FormTable:
        """The rows of one agency alone: the table that this unit confirms."""
        rows = {key: figures for key, figures in self.rows.items() if key.agency == agency}
        return FormTable(window=self.window, known_at=self.known_at, rules=self.rules, rows=rows)

    def broken_identities(self) -> list[BrokenIdentity]:
        """Every identity that fails, by leaf row: a sum of rows cannot hide it."""
        return [
            BrokenIdentity(total=total, parts=parts, row=key, left=left, right=right)
            for key, figures in sorted(self.rows.items())
            for total, sums in IDENTITIES.items()
            for parts in sums
            if (left := figures.of(total)) != (right := sum(figures.of(part) for part in parts))
        ]

    def _folded(self, by: Callable[[RowKey], K]) -> dict[K, Figures]:
        found: defaultdict[K, Figures] = defaultdict(Figures)
        for key, figures in sorted(self.rows.items()):
            found[by(key)] += figures
        return dict(sorted(found.items(), key=lambda one: one[0]))  # type: ignore[arg-type, return-value] # codes

    def as_content(self) -> dict[str, Any]:
        """What is frozen: of JSON's types only, rows and columns in their order, so that a hash can be made."""
        return {
            "form": "II.06",
            "window": {
                "first": self.window.first.isoformat(),
                "last": self.window.last.isoformat(),
            },
            "known_at": self.known_at.astimezone(UTC).isoformat(),
            "rules": self.rules,
            "rows": [{**asdict(key), **asdict(row)} for key, row in sorted(self.rows.items())],
        }

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Self:
        """The same table again. Raises `FormError`."""
        try:
            window = content["window"]
            keys, columns = [f.name for f in fields(RowKey)], [c.value for c in Column]
            return cls(
                window=Window(
                    date.fromisoformat(window["first"]), date.fromisoformat(window["last"])
                ),
                known_at=datetime.fromisoformat(content["known_at"]).astimezone(UTC),
                rules=str(content["rules"]),
                rows={
                    RowKey(*(str(row[name]) for name in keys)): Figures(
                        **{name: int(row[name]) for name in columns}
                    )
                    for row in content["rows"]
                },
            )
        except KeyError as missing:
            raise FormError(f"form II.06: {missing.args[0]} is missing") from None
        except (TypeError, ValueError) as wrong:
            raise FormError(f"form II.06: {wrong}") from None
