"""What was received about reports, judged: which regime, form, periods and catalogues are in force, and why not. Pure.

Everything received is kept (`schemas/ledger/regimes.py`); nothing here is stored. It is judged anew each time, so
that a form that came before its indicators is in force as soon as they have come.

- In force is the newest received version without a fault that blocks it. A version with such a fault is listed, the
  one before it stays in force, and nothing of the faulty one is used.
- A period that had begun when a catalogue with other days for it came keeps its days; the new ones are used from the
  next period on. That is listed as `changed_after_begin`, and blocks nothing.

Inferred, all of it: the text of QCVN 125:2021 on these packets is not public. That a period keeps the days with which
it began follows from Decree 09/2019 Art. 8(5): cut-off and deadline are set before, with the regime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar

from schemas.dossier.working_calendar import civil_day
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import (
    Content,
    Form,
    Indicator,
    Indicators,
    Kpi,
    KpiBreakdowns,
    KpiGroups,
    KpiSet,
    OutlineForm,
    PeriodEntry,
    Periods,
    Regime,
)

C = TypeVar("C")

EVERY_REGIME = ""
"""The key of a catalogue of periods, or of indicators, that is for all regimes."""


class RegimeFault(StrEnum):
    """What is wrong with something received. All but those of `NOTICES` keep it from being in force."""

    UNKNOWN_REGIME = "unknown_regime"  # a form or periods of a regime that was never received
    UNKNOWN_FORM = "unknown_form"  # a regime asks for a form that was never received
    UNKNOWN_FORM_VERSION = "unknown_form_version"  # or for another version of it than was
    FORM_OF_ANOTHER_REGIME = "form_of_another_regime"
    NO_FORMS = "no_forms"  # a regime that asks for nothing
    UNKNOWN_INDICATOR = "unknown_indicator"  # a form, or an indicator's parent
    UNKNOWN_ROW = "unknown_row"  # the parent of a form's row or of an outline's section
    UNKNOWN_GROUP = "unknown_group"  # of a KPI
    UNKNOWN_BREAKDOWN = "unknown_breakdown"  # of a KPI or an indicator
    CODE_MISSING = "code_missing"  # something has an empty code
    DAYS_REVERSED = "days_reversed"  # the last day lies before the first
    DUE_BEFORE_CUT_OFF = "due_before_cut_off"  # due on or before the last day that is counted
    OVERLAPPING_PERIODS = "overlapping_periods"  # a day would be counted in two periods of one kind
    PERIOD_TWICE = "period_twice"  # one code for two periods
    CHANGED_AFTER_BEGIN = "changed_after_begin"  # other days for a period that had begun


NOTICES = frozenset({RegimeFault.CHANGED_AFTER_BEGIN})
"""Listed, and no reason not to use what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A content as it came. `packet_id` is what its sender calls the packet; `received_at` (aware): when we read it;
    `place`: its number in the order in which things came."""

    packet_id: str
    place: int
    content: Content
    content_hash: str
    received_at: datetime

    @property
    def key(self) -> tuple[PacketKind, str, str]:
        """Kind, code and version: what a newer one of the same takes the place of."""
        return key_of(self.content)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong; `about` is the code that it is about, "" where it is the whole."""

    fault: RegimeFault
    about: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A received content and what is wrong with it. `in_force`: this one is used."""

    received: Received
    faults: tuple[Fault, ...]
    in_force: bool

    @property
    def blocked(self) -> bool:
        """Whether a fault keeps it from ever being used as it is."""
        return any(one.fault not in NOTICES for one in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What is in force, by code, and the judgement of everything that was received, in the order in which it came.

    `forms` and `outlines` by (code, version): a regime names both. `periods` by regime, `EVERY_REGIME` among them.
    `legal` are the regimes by the newest version received, whatever its faults: what the province is obliged to.
    """

    regimes: Mapping[str, Regime] = field(default_factory=dict)
    legal: Mapping[str, Regime] = field(default_factory=dict)
    first_received: Mapping[str, datetime] = field(default_factory=dict)
    forms: Mapping[tuple[str, str], Form] = field(default_factory=dict)
    outlines: Mapping[tuple[str, str], OutlineForm] = field(default_factory=dict)
    kpi_sets: Mapping[tuple[str, str], KpiSet] = field(default_factory=dict)
    indicators: Mapping[str, Indicator] = field(default_factory=dict)
    periods: Mapping[str, tuple[PeriodEntry, ...]] = field(default_factory=dict)
    judged: tuple[Judged, ...] = ()

    def periods_of(self, regime: str) -> tuple[PeriodEntry, ...]:
        """The periods of a regime: its own, else those for every regime; by their days."""
        return self.periods.get(regime) or self.periods.get(EVERY_REGIME, ())

    def asked(self, regime: str) -> tuple[Form | OutlineForm | KpiSet, ...]:
        """The forms, outlines and sets that a regime in force asks for. Raises `KeyError` for one that is not."""
        found: list[Form | OutlineForm | KpiSet] = []
        for wanted in self.regimes[regime].forms:
            place = (wanted.code, wanted.version)
            for forms in (self.forms, self.outlines, self.kpi_sets):
                if place in forms:
                    found.append(forms[place])
                    break
        return tuple(found)


def key_of(content: Content) -> tuple[PacketKind, str, str]:
    """Kind, code and version of something that comes in. Raises `ValueError` for what is no catalogue."""
    match content:
        case Regime():
            return PacketKind.REGIME, content.code, ""
        case Form():
            return PacketKind.FORM, content.code, content.version
        case OutlineForm():
            return PacketKind.OUTLINE_FORM, content.code, content.version
        case Periods():
            return PacketKind.PERIODS, content.regime or EVERY_REGIME, ""
        case Indicators():
            return PacketKind.INDICATORS, content.code, ""
        case KpiSet():
            return PacketKind.KPI_SET, content.code, content.version
        case KpiGroups():
            return PacketKind.KPI_GROUPS, "", ""
        case KpiBreakdowns():
            return PacketKind.KPI_BREAKDOWNS, "", ""
        case _:
            raise ValueError(f"{type(content).__name__} is nothing that defines reports")


def in_force_on(regime: Regime, day: date) -> bool:
    """Whether a regime holds on a day."""
    return regime.valid_from <= day and (regime.valid_until is None or day <= regime.valid_until)


def judge(received: Iterable[Received]) -> Catalogue:
    """Everything that came, judged together."""
    return _Judge(sorted(received, key=lambda one: (one.received_at, one.place))).done()


class _Judge:
    """Kinds are judged in the order in which they lean on each other."""

    def __init__(self, received: Sequence[Received]) -> None:
        self._received = received
        self._faults: dict[str, list[Fault]] = {one.packet_id: [] for one in received}
        self._used: set[str] = set()
        self._groups: set[str] = set()
        self._breakdowns: set[str] = set()
        self._indicators: dict[str, Indicator] = {}
        self._named = {one.content.code for one in received if isinstance(one.content, Regime)}
        self._periods: dict[str, tuple[PeriodEntry, ...]] = {}

    def done(self) -> Catalogue:
        for groups in self._newest(
            KpiGroups, lambda one: _empty(group.code for group in one.groups)
        ).values():
            self._groups |= {group.code for group in groups.groups}
        for parts in self._newest(
            KpiBreakdowns, lambda one: _empty(part.code for part in one.breakdowns)
        ).values():
            self._breakdowns |= {part.code for part in parts.breakdowns}
        for indicators in self._newest(Indicators, self._of_indicators).values():
            self._indicators |= {one.code: one for one in indicators.indicators}
        kpi_sets = self._newest(KpiSet, self._of_kpi_set)
        forms = self._newest(Form, self._of_form)
        outlines = self._newest(OutlineForm, self._of_outline)
        known = {
            (code, version): found.regime if isinstance(found, Form | OutlineForm) else None
            for found_of in (forms, outlines, kpi_sets)
            for (_, code, version), found in found_of.items()
        }
        regimes = self._newest(Regime, lambda one: _of_regime(one, known))
        self._take_periods()
        legal = {
            one.content.code: one.content
            for one in self._received
            if isinstance(one.content, Regime)
        }
        first: dict[str, datetime] = {}
        for one in self._received:
            if isinstance(one.content, Regime):
                first.setdefault(one.content.code, one.received_at)
        return Catalogue(
            regimes={code: found for (_, code, _), found in regimes.items()},
            legal=legal,
            first_received=first,
            forms={(code, version): found for (_, code, version), found in forms.items()},
            outlines={(code, version): found for (_, code, version), found in outlines.items()},
            kpi_sets={(code, version): found for (_, code, version), found in kpi_sets.items()},
            indicators=self._indicators,
            periods=self._periods,
            judged=tuple(
                Judged(one, tuple(self._faults[one.packet_id]), one.packet_id in self._used)
                for one in self._received
            ),
        )

    def _newest(
        self, kind: type[C], faults: Callable[[C], Iterable[Fault]]
    ) -> dict[tuple[PacketKind, str, str], C]:
        """By key the newest of a kind that nothing blocks; it and the faults of all are noted."""
        found: dict[tuple[PacketKind, str, str], tuple[str, C]] = {}
        for one in self._received:
            if isinstance(one.content, kind):
                wrong = list(dict.fromkeys(faults(one.content)))
                self._faults[one.packet_id] += wrong
                if all(fault.fault in NOTICES for fault in wrong):
                    found[one.key] = (one.packet_id, one.content)
        self._used |= {packet_id for packet_id, _ in found.values()}
        return {key: content for key, (_, content) in found.items()}

    # --- what may be wrong with each ---

    def _of_indicators(self, found: Indicators) -> Iterator[Fault]:
        known = {one.code for one in found.indicators}
        yield from _empty((found.code, *(one.code for one in found.indicators)))
        for one in found.indicators:
            if one.parent is not None and one.parent not in known:
                yield Fault(RegimeFault.UNKNOWN_INDICATOR, one.parent)
            for part in one.breakdowns:
                if part not in self._breakdowns:
                    yield Fault(RegimeFault.UNKNOWN_BREAKDOWN, part)

    def _of_kpi_set(self, found: KpiSet) -> Iterator[Fault]:
        yield from _empty((found.code, found.version, *(kpi.code for kpi in found.kpis)))
        for kpi in found.kpis:
            yield from self._of_kpi(kpi)

    def _of_kpi(self, kpi: Kpi) -> Iterator[Fault]:
        if kpi.group is not None and kpi.group not in self._groups:
            yield Fault(RegimeFault.UNKNOWN_GROUP, kpi.group)
        for part in kpi.breakdowns:
            if part not in self._breakdowns:
                yield Fault(RegimeFault.UNKNOWN_BREAKDOWN, part)

    def _of_form(self, form: Form) -> Iterator[Fault]:
        yield from self._of_regimes_own(form.regime)
        codes = (*(one.code for one in form.columns), *(one.code for one in form.rows))
        yield from _empty((form.code, form.version, *codes))
        rows = {row.code for row in form.rows}
        for row in form.rows:
            if row.parent is not None and row.parent not in rows:
                yield Fault(RegimeFault.UNKNOWN_ROW, row.parent)
        for indicator in (
            *(row.indicator for row in form.rows),
            *(c.indicator for c in form.columns),
        ):
            if indicator is not None and indicator not in self._indicators:
                yield Fault(RegimeFault.UNKNOWN_INDICATOR, indicator)

    def _of_outline(self, outline: OutlineForm) -> Iterator[Fault]:
        yield from self._of_regimes_own(outline.regime)
        sections = {section.code for section in outline.sections}
        yield from _empty((outline.code, outline.version, *sections))
        for section in outline.sections:
            if section.parent is not None and section.parent not in sections:
                yield Fault(RegimeFault.UNKNOWN_ROW, section.parent)

    def _of_regimes_own(self, regime: str) -> Iterator[Fault]:
        if regime not in self._named:
            yield Fault(RegimeFault.UNKNOWN_REGIME, regime)

    # --- periods ---

    def _take_periods(self) -> None:
        """Catalogues in the order in which they came, each beside what was in force then."""
        used: dict[str, str] = {}
        for one in self._received:
            if not isinstance(one.content, Periods):
                continue
            code = one.content.regime or EVERY_REGIME
            kept, taken, faults = _renewed(
                self._periods.get(code, ()), one.content.periods, civil_day(one.received_at)
            )
            if code != EVERY_REGIME:
                faults = [*self._of_regimes_own(code), *faults]
            self._faults[one.packet_id] += list(dict.fromkeys(faults))
            if all(fault.fault in NOTICES for fault in faults):
                self._periods[code] = tuple(sorted((*kept, *taken), key=_days))
                used[code] = one.packet_id
        self._used |= set(used.values())


def _of_regime(regime: Regime, known: Mapping[tuple[str, str], str | None]) -> Iterator[Fault]:
    yield from _empty((regime.code,))
    if regime.valid_until is not None and regime.valid_until < regime.valid_from:
        yield Fault(RegimeFault.DAYS_REVERSED)
    if not regime.forms:
        yield Fault(RegimeFault.NO_FORMS)
    codes = {code for code, _ in known}
    for form in regime.forms:
        place = (form.code, form.version)
        if form.code not in codes:
            yield Fault(RegimeFault.UNKNOWN_FORM, form.code)
        elif place not in known:
            yield Fault(RegimeFault.UNKNOWN_FORM_VERSION, f"{form.code} {form.version}")
        elif known[place] not in (None, regime.code):
            yield Fault(RegimeFault.FORM_OF_ANOTHER_REGIME, form.code)


def _renewed(
    there: Sequence[PeriodEntry], coming: Sequence[PeriodEntry], today: date
) -> tuple[list[PeriodEntry], list[PeriodEntry], list[Fault]]:
    """Of the periods in force those that stay, those that come, and what is wrong with these.

    A period that is no longer named stays if it has begun: what was reported for it stays explained.
    """
    begun = {one.code: one for one in there if one.window_from <= today}
    faults: list[Fault] = []
    codes = [one.code for one in coming]
    faults += [Fault(RegimeFault.PERIOD_TWICE, code) for code in codes if codes.count(code) > 1]
    taken = []
    for one in coming:
        faults += _of_period(one)
        old = begun.get(one.code)
        if old is None:
            taken.append(one)
        elif _told(old) != _told(one):
            faults.append(Fault(RegimeFault.CHANGED_AFTER_BEGIN, one.code))
    kept = list(begun.values())
    faults += _overlapping([*kept, *taken])
    return kept, taken, faults


def _told(one: PeriodEntry) -> tuple[object, ...]:
    """What must not change of a period that has begun; its name may."""
    return one.type, one.window_from, one.window_to, one.due_on


def _of_period(one: PeriodEntry) -> Iterator[Fault]:
    yield from _empty((one.code,))
    if one.window_to < one.window_from:
        yield Fault(RegimeFault.DAYS_REVERSED, one.code)
    elif one.due_on <= one.window_to:
        yield Fault(RegimeFault.DUE_BEFORE_CUT_OFF, one.code)


def _overlapping(periods: Sequence[PeriodEntry]) -> Iterator[Fault]:
    """Those of one kind; a month lies within a quarter, and that is as it should be."""
    for kind in dict.fromkeys(one.type for one in periods):
        of_kind = sorted((one for one in periods if one.type is kind), key=_days)
        reach = None
        for one in of_kind:
            if reach is not None and one.window_from <= reach:
                yield Fault(RegimeFault.OVERLAPPING_PERIODS, one.code)
            reach = one.window_to if reach is None else max(reach, one.window_to)


def _days(one: PeriodEntry) -> tuple[date, date, str]:
    return one.window_from, one.window_to, one.code


def _empty(codes: Iterable[str]) -> Iterator[Fault]:
    if not all(code.strip() for code in codes):
        yield Fault(RegimeFault.CODE_MISSING)
