"""The rates of a period: every unit and all together, each figure with what has to be said about it.

A figure has two values: `known`, where an unknown stays unknown, and `shown`, what the portal would show. Of
what dossiers do not tell (petitions, publicity, ratings) the hub cannot say what the portal would show, so
it says nothing; nothing stands for a count that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from monitoring.rates.catalogue import Block, Catalogue, Rate, packaged
from monitoring.rates.dossier_counts import Counted, UnitCounts, bounds, count
from monitoring.rates.periods import Period
from monitoring.rates.points import Count, Counts, Figure, known, shown, total
from monitoring.rates.remarks import (
    NOT_IN_FORCE,
    Remark,
    about,
    about_base,
    about_steps,
    unjudged,
)
from monitoring.rates.step_counts import HANDLED, StepCounts, Steps, count_steps
from monitoring.rates.sync_inputs import SyncCounts, SyncInputs, nothing_observed, observed
from monitoring.rates.units import Asked, Place, UnitKind, places, scope_of, total_place
from schemas.dossier.agencies import Agencies
from schemas.ledger.figures import waiting

LARGER = "received_in_period_larger"
RECEIVED = "received_in_period"
HELD = "synced_received_in_period"
STEPS_IN_TIME = "progress_synced_in_time"

_NEVER_PUBLISHED = frozenset({"communes", "communes_with_certified_copy"})
"""The portal shows no counts of these, and for every unit what it shows for none: see the rate's note."""

_NOTHING = Figure(None, None)


class NotBegun(ValueError):
    """The period lies in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFigure:
    """One rate of one unit. `counts` and `counts_shown` are of the quantities that the rate names."""

    rate: Rate
    counts: Counts
    counts_shown: Counts
    known: Figure
    shown: Figure
    without: tuple[str, ...]  # quantities that nothing tells
    out_of_force: bool  # the rule is known not to hold for the period, so nothing is computed by it
    least: Decimal | None  # points that the portal shows at the least: of the terms that are told
    remarks: tuple[Remark, ...]
    sync: SyncInputs | None = None

    @property
    def determined(self) -> bool:
        """Whether it can be said what the portal shows; that may be nothing."""
        return not self.without

    def as_dict(self) -> dict[str, object]:
        """For JSON. A ratio is in per cent."""
        return {
            "rate": self.rate.code,
            "version": self.rate.version,
            "terms": [
                {
                    side: {
                        "quantity": name,
                        "known": plain(self.counts[name]),
                        "shown": plain(self.counts_shown[name]),
                    }
                    for side, name in (
                        ("numerator", term.numerator),
                        ("denominator", term.denominator),
                    )
                }
                for term in self.rate.terms
            ],
            "known": _figure(self.known),
            "shown": _figure(self.shown),
            "remarks": [remark.as_dict() for remark in self.remarks],
            **({} if self.sync is None else {"inputs": _inputs(self.sync)}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A unit's total of a block, or (`block` is None) of all.

    `known` needs every score. `shown` adds up what can be said of the portal: with `without`, the codes of
    which it cannot, it is the least that the portal shows.
    """

    block: str | None
    maximum: Decimal
    known: Figure
    shown: Figure
    without: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "block": self.block,
            "maximum": self.maximum,
            "known": _figure(self.known),
            "shown": _figure(self.shown),
            "without": list(self.without),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRates:
    """One row. `codes` are those whose dossiers count in it; None is all of them."""

    kind: UnitKind
    code: str | None
    name: str | None
    codes: tuple[str, ...] | None
    rates: tuple[RateFigure, ...]
    blocks: tuple[Total, ...]
    total: Total | None
    steps: StepCounts | None
    unjudged: int
    remarks: tuple[Remark, ...]

    def rate(self, code: str) -> RateFigure:
        """The figure of a rate. Raises `KeyError` for one that was not asked for."""
        for one in self.rates:
            if one.rate.code == code:
                return one
        raise KeyError(code)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "kind": self.kind.value,
            "code": self.code,
            "name": self.name,
            "codes": None if self.codes is None else list(self.codes),
            "rates": [one.as_dict() for one in self.rates],
            "blocks": [one.as_dict() for one in self.blocks],
            "total": None if self.total is None else self.total.as_dict(),
            "unjudged": self.unjudged,
            "remarks": [remark.as_dict() for remark in self.remarks],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All rows, and together. Counted is [start, end); `ended`: the period has. `due`: not reckoned yet."""

    asked: Asked
    start: datetime
    end: datetime
    ended: bool
    due: int
    units: tuple[UnitRates, ...]
    total: UnitRates

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "period": str(self.asked.period),
            "start": self.start,
            "end": self.end,
            "provisional": not self.ended,
            "agency": self.asked.agency,
            "procedure": self.asked.procedure,
            "sector": self.asked.sector,
            "due": self.due,
            "units": [unit.as_dict() for unit in self.units],
            "total": self.total.as_dict(),
        }


def plain(number: Count | None) -> int | float | None:
    """A count for JSON and tables: a fraction as a float."""
    if number is None or isinstance(number, int):
        return number
    return int(number) if number.denominator == 1 else round(float(number), 2)


def _figure(figure: Figure) -> dict[str, object]:
    return {"ratio": figure.ratio, "score": figure.score}


def _inputs(inputs: SyncInputs) -> dict[str, object]:
    told = {"portal": inputs.portal, "report": inputs.report, "last_year": inputs.last_year}
    return {
        **{name: None if one is None else one.as_dict() for name, one in told.items()},
        "held": inputs.held,
        "known": None if inputs.known is None else inputs.known.basis.value,
        "shown": inputs.shown.basis.value,
        "flag": inputs.shown.flag,
    }


# --- the report --------------------------------------------------------------------------------------


def span(period: Period, now: datetime) -> tuple[datetime, datetime, bool]:
    """[start, end) of what there is of a period, and whether it has ended. Raises `NotBegun`."""
    start, end = bounds(period)
    if now < start:
        raise NotBegun(f"{period} has not begun")
    return start, min(end, now), end <= now


def report(
    connection: Connection,
    asked: Asked,
    now: datetime,
    *,
    directory: Agencies | None = None,
    steps: Steps | None = None,
    catalogue: Catalogue | None = None,
) -> Report:
    """The figures of a period up to `now` (aware), in one snapshot: `gathered`, and made into rows at once."""
    return gathered(connection, asked, now, directory=directory, steps=steps, catalogue=catalogue)()


def gathered(
    connection: Connection,
    asked: Asked,
    now: datetime,
    *,
    directory: Agencies | None = None,
    steps: Steps | None = None,
    catalogue: Catalogue | None = None,
) -> Callable[[], Report]:
    """What a report is made of, in one snapshot; making it reads nothing, and is for after the transaction.

    Of a large province the rows take longer to make than a busy machine may be silent in a transaction.
    Without `steps` the steps that were in time are not counted, which takes longer than all else.
    Raises `NotBegun`, `UnknownAgency`, and `UnknownRate` for a code that is asked for.
    """
    rules = catalogue or packaged()
    rates = tuple(_versions(rules, asked))
    start, end, ended = span(asked.period, now)
    scope = scope_of(connection, asked, directory)
    counted = count(connection, start, end, scope)
    kept = steps is not None and steps.kept(start)
    in_time = count_steps(connection, start, end, scope, steps) if steps and kept else None
    whole = asked.procedure is None and asked.sector is None
    sync = observed(connection, asked.period) if whole else nothing_observed(asked.period)
    due = waiting(connection)
    maker = _Maker(rules, rates, asked, counted, in_time, sync)

    def make() -> Report:
        return Report(
            asked=asked,
            start=start,
            end=end,
            ended=ended,
            due=due,
            units=tuple(maker.row(place) for place in places(counted, asked, directory)),
            total=maker.row(total_place(counted, asked, directory, scope)),
        )

    return make


def _versions(rules: Catalogue, asked: Asked) -> Iterator[Rate]:
    """The version in force on the period's last day; where none is known to be, the newest."""
    codes = rules.codes if asked.rates is None else dict.fromkeys(asked.rates)
    for code in codes:
        in_force = rules.rate(code, on=asked.period.last)
        yield in_force or rules.versions(code)[-1]


# --- figures -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes rows out of what was counted."""

    rules: Catalogue
    rates: tuple[Rate, ...]
    asked: Asked
    counted: Counted
    steps: Mapping[str | None, StepCounts] | None
    sync: SyncCounts

    def row(self, place: Place) -> UnitRates:
        codes = None if place.kind is UnitKind.TOTAL else place.codes
        counts = self._together(codes)
        steps = self._steps(codes)
        inputs = self.sync.of(place.observed_as, _whole(counts.shown[HELD]))
        base = None if inputs.known is None else inputs.known.count
        counts = _with(counts, LARGER, base, inputs.shown.count)
        if steps is not None:
            counts = _less(counts, STEPS_IN_TIME, HANDLED, steps.late_dossiers)
        figures = tuple(self._figure(rate, counts, inputs, steps) for rate in self.rates)
        blocks = tuple(self._totals(figures))
        unread = (unjudged(counts.unjudged),) if counts.unjudged else ()
        named = tuple(code for code in place.codes if code is not None)
        return UnitRates(
            kind=place.kind,
            code=place.code,
            name=place.name,
            codes=named if named or place.kind is not UnitKind.TOTAL else None,
            rates=figures,
            blocks=blocks,
            total=_over_all(blocks, self.rules) if blocks else None,
            steps=steps,
            unjudged=counts.unjudged,
            remarks=(*place.remarks, *unread),
        )

    def _together(self, codes: Collection[str | None] | None) -> UnitCounts:
        """The counts of these units; of None all."""
        if codes is None:
            return self.counted.total
        units = [unit for unit in self.counted.units if unit.agency in codes]
        blank = self.counted.total
        return UnitCounts(
            agency=None,
            known={
                name: _added(unit.known[name] for unit in units)
                if blank.shown[name] is not None
                else None
                for name in blank.known
            },
            shown={
                name: _added(unit.shown[name] for unit in units)
                if blank.shown[name] is not None
                else None
                for name in blank.shown
            },
            unknown={name: sum(unit.unknown[name] for unit in units) for name in blank.unknown},
            unjudged=sum(unit.unjudged for unit in units),
        )

    def _steps(self, codes: Collection[str | None] | None) -> StepCounts | None:
        if self.steps is None:
            return None
        mine = [one for code, one in self.steps.items() if codes is None or code in codes]
        return StepCounts(
            steps=sum(one.steps for one in mine),
            in_time=sum(one.in_time for one in mine),
            late_dossiers=sum(one.late_dossiers for one in mine),
        )

    def _figure(
        self, rate: Rate, counts: UnitCounts, inputs: SyncInputs, steps: StepCounts | None
    ) -> RateFigure:
        names = tuple(dict.fromkeys(name for term in rate.terms for name in term.quantities))
        hidden = _NEVER_PUBLISHED.issuperset(names)
        without = tuple(
            name for name in names if counts.shown[name] is None and name != LARGER and not hidden
        )
        in_force = rate.in_force(self.asked.period.last)
        past = rate.effective_from is not None and not in_force
        remarks = [*about(self.rules, names, counts, without)]
        sync = inputs if LARGER in names else None
        if sync is not None:
            remarks.append(about_base(sync))
        if steps is not None and STEPS_IN_TIME in names:
            remarks.append(about_steps(steps))
        if not in_force:
            remarks.append(NOT_IN_FORCE)
        return RateFigure(
            rate=rate,
            counts={name: counts.known[name] for name in names},
            counts_shown={name: counts.shown[name] for name in names},
            known=_NOTHING if past else known(rate, counts.known),
            shown=_NOTHING if past or without else shown(rate, counts.shown),
            without=without,
            out_of_force=past,
            least=None if past else _least(rate, counts.shown, without),
            remarks=tuple(remarks),
            sync=sync,
        )

    def _totals(self, figures: Sequence[RateFigure]) -> Iterator[Total]:
        """Of every block, if all its rates are there."""
        if self.asked.rates is not None:
            return
        for code, block in self.rules.blocks.items():
            mine = [one for one in figures if one.rate.block == code]
            yield _block_total(code, block, mine)


def _block_total(code: str, block: Block, figures: Sequence[RateFigure]) -> Total:
    if not block.reproducible:
        return Total(
            block=code, maximum=block.maximum, known=_NOTHING, shown=_NOTHING, without=(code,)
        )
    worth = [one for one in figures if one.rate.maximum]
    without = tuple(one.rate.code for one in worth if not one.determined or one.out_of_force)
    scores = [one.known.score for one in worth]
    nothing = all(one.least is None and one.rate.code in without for one in worth)
    return Total(
        block=code,
        maximum=block.maximum,
        known=_NOTHING if None in scores else total(scores, block.maximum),
        shown=_NOTHING if nothing else total((one.least for one in worth), block.maximum),
        without=without,
    )


def _least(rate: Rate, counts: Counts, without: Collection[str]) -> Decimal | None:
    """The points of the terms of which every quantity is told; None if there is no such term."""
    told = tuple(term for term in rate.terms if not set(without).intersection(term.quantities))
    if not told:
        return None
    return shown(rate.model_copy(update={"terms": told}), counts).score


def _over_all(blocks: Sequence[Total], rules: Catalogue) -> Total:
    maximum = sum((block.maximum for block in rules.blocks.values()), Decimal(0))
    scores = [block.known.score for block in blocks]
    return Total(
        block=None,
        maximum=maximum,
        known=_NOTHING if None in scores else total(scores, maximum),
        shown=total((block.shown.score for block in blocks), maximum),
        without=tuple(code for block in blocks for code in block.without),
    )


def _added(counts: Iterable[Count | None]) -> Count | None:
    whole: Count = 0
    for one in counts:
        if one is None:
            return None
        whole += one
    return whole


def _with(counts: UnitCounts, name: str, of: Count | None, at_portal: Count | None) -> UnitCounts:
    return replace(
        counts, known={**counts.known, name: of}, shown={**counts.shown, name: at_portal}
    )


def _less(counts: UnitCounts, name: str, of: str, fewer: int) -> UnitCounts:
    whole = counts.shown[of]
    left = None if whole is None else whole - fewer
    return _with(counts, name, left, left)


def _whole(number: Count | None) -> int | None:
    return None if number is None else int(number)
