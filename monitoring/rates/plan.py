"""The plan's scoreboard: goals (chỉ tiêu), where the figure of each comes from, and how it stands.

`plan.toml` is the data, this module its types, its reading and the scoreboard. A goal is measured by a rate
of the catalogue, computed from dossiers, or by an indicator, of which observations arrive. Without a figure
a goal is unknown: "chưa có số liệu" is a value, and nothing is put in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from monitoring.rates import catalogue
from monitoring.rates.catalogue import Catalogue, UnknownRate, Words, near
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.toml_tables import load

NO_FIGURE = Words(vi="chưa có số liệu", en="no figure yet")
"""What stands where a figure would stand."""

HIGHEST = {"percent": Decimal(100), "yes_no": Decimal(1), "dossiers": Decimal(10**9)}
"""The units with their highest value (of `dossiers` more than any country has); the lowest is 0."""

WHOLE = frozenset({"yes_no", "dossiers"})
"""The units that know no fractions."""

_ONE_OF = {"indicators": "indicator", "goals": "goal"}

Unit = Literal["percent", "yes_no", "dossiers"]

UNIT_WORDS: Mapping[Unit, str] = {
    "percent": "phần trăm",
    "yes_no": "có hoặc chưa",
    "dossiers": "số hồ sơ",
}
"""The units in Vietnamese."""


class PlanError(ValueError):
    """A plan cannot be used. The text names every mistake with code and field."""


class Indicator(Words):
    """Something that another system counts and reports. `effective_to`: the last day that it can concern.

    `rate`: the rate whose rule takes the figure as an input. Without one, a goal is measured by it.
    """

    unit: Unit
    rate: str | None = None
    periods: Annotated[tuple[PeriodKind, ...], Field(min_length=1)] = tuple(PeriodKind)
    effective_to: date | None = None

    def takes(self, period: Period) -> bool:
        """Whether the indicator has figures for this period."""
        in_time = self.effective_to is None or period.last <= self.effective_to
        return period.kind in self.periods and in_time


class Goal(Words):
    """One goal: at least `value`, in the unit of what measures it, by the end of the year `by`.

    `number` is that of the plan's list; one with a goal for each level of administration is several entries.
    Without `level` a goal holds for the whole province.
    `rate` or `indicator` measures it; `needs` is an import without which the rate cannot be computed. Levels
    of services: 4 is toàn trình (full process), 3 is một phần. `source` says where the value stands, and
    `certainty` how sure that is: the text was seen, a secondary source says so, or neither. Without
    `effective_from` it is not known since when it holds; after `effective_to` it is history.
    """

    code: str
    number: Annotated[int, Field(ge=1)]
    level: Literal["province", "district", "commune"] | None = None
    value: Annotated[Decimal, Field(gt=0)]
    by: Annotated[int, Field(ge=2000, le=2099)]
    rate: str | None = None
    indicator: str | None = None
    needs: Literal["service_levels"] | None = None
    effective_from: date | None = None
    effective_to: date | None = None  # the last day
    source: str
    certainty: Literal["confirmed", "reported", "unverified"]
    note: Words | None = None

    @property
    def measure(self) -> str:
        """The code of the rate or indicator."""
        return self.rate or self.indicator or ""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.rate is None) == (self.indicator is None):
            raise ValueError("give either rate or indicator")
        if self.needs is not None and self.rate is None:
            raise ValueError("needs is given without a rate")
        if (
            self.effective_from is not None
            and self.effective_to is not None
            and self.effective_to < self.effective_from
        ):
            raise ValueError("effective_to lies before effective_from")
        return self


class Plan(Words):
    """The goals in the order of the plan, and the indicators by code."""

    indicators: dict[str, Indicator]
    goals: tuple[Goal, ...]

    @property
    def measures(self) -> frozenset[str]:
        """The codes of the rates and indicators that goals are measured by."""
        return frozenset(goal.measure for goal in self.goals)

    def unit(self, goal: Goal) -> Unit:
        """The unit of a goal's value; a rate is in per cent."""
        return "percent" if goal.indicator is None else self.indicators[goal.indicator].unit

    @model_validator(mode="after")
    def _whole(self) -> Self:
        mistakes = [*self._doubled(), *self._idle(), *self._unmeasurable()]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _doubled(self) -> Iterator[str]:
        codes = Counter(goal.code for goal in self.goals)
        places = Counter((goal.number, goal.level) for goal in self.goals)
        for code in (code for code, times in codes.items() if times > 1):
            yield f"goal {code}: code: is given twice"
        for number, level in (place for place, times in places.items() if times > 1):
            yield f"goal number {number}: level: {level or 'the whole province'} is given twice"

    def _idle(self) -> Iterator[str]:
        measured = {goal.indicator for goal in self.goals}
        for code, indicator in self.indicators.items():
            if code not in measured and indicator.rate is None:
                yield f"indicator {code}: no goal is measured by it, and no rate takes it"

    def _unmeasurable(self) -> Iterator[str]:
        for goal in self.goals:
            if goal.indicator is not None and goal.indicator not in self.indicators:
                yield f"goal {goal.code}: indicator: {goal.indicator!r} is not among the indicators"
                continue
            highest = HIGHEST[self.unit(goal)]
            if goal.value > highest:
                yield f"goal {goal.code}: value: {goal.value} is above {highest}"
            last = self.indicators[goal.indicator].effective_to if goal.indicator else None
            if last is not None and (goal.effective_to is None or goal.effective_to > last):
                yield f"goal {goal.code}: effective_to: its indicator ends on {last}"


@cache
def packaged() -> Plan:
    """The plan that comes with the hub. Raises `PlanError`."""
    file = resources.files(__package__) / "plan.toml"
    return read(file.read_text(encoding="utf-8"), "plan.toml", catalogue.packaged())


def read(text: str, where: str, rates: Catalogue) -> Plan:
    """A plan written in TOML, whose rates are those of a catalogue. Raises `PlanError`, which names `where`."""
    plan = load(Plan, text, where, _ONE_OF, PlanError)
    mistakes = [
        f"goal {goal.code}: rate: {why}"
        for goal in plan.goals
        if goal.rate is not None and (why := _no_share(rates, goal.rate))
    ]
    mistakes += [
        f"indicator {code}: rate: {UnknownRate(one.rate, near(one.rate, rates.codes))}"
        for code, one in plan.indicators.items()
        if one.rate is not None and one.rate not in rates.codes
    ]
    if mistakes:
        raise PlanError(f"{where}: {'; '.join(mistakes)}")
    return plan


def _no_share(rates: Catalogue, code: str) -> str:
    """Why a rate cannot measure a goal; empty if it can."""
    try:
        newest = rates.versions(code)[-1]
    except UnknownRate as error:
        return str(error)
    return "" if len(newest.terms) == 1 else f"{code!r} is no share: it has several terms"


# --- the scoreboard ----------------------------------------------------------------------------------


class Standing(StrEnum):
    """How a goal stands on a day."""

    REACHED = "reached"
    NOT_REACHED = "not_reached"
    UNKNOWN = "unknown"  # there is no figure
    CLOSED = "closed"  # it no longer holds, whatever its last figure was


@dataclass(frozen=True, slots=True)
class Value:
    """A figure in the unit of what it measures, for a period, as it was known on the day `as_of`."""

    value: Decimal
    period: Period
    as_of: date
    source: str  # which system or document says so


@dataclass(frozen=True, slots=True)
class Row:
    """One goal of the scoreboard. `history`: its figures, newest first; the newest is the actual one."""

    goal: Goal
    unit: Unit
    standing: Standing
    history: tuple[Value, ...]

    @property
    def actual(self) -> Value | None:
        """The newest figure; None is "chưa có số liệu"."""
        return self.history[0] if self.history else None

    def as_dict(self) -> dict[str, object]:
        """For JSON. Of the actual figure null where there is none."""
        return {
            **self.goal.model_dump(),
            "unit": self.unit,
            "actual": None if self.actual is None else _as_dict(self.actual),
            "standing": self.standing.value,
            "history": [_as_dict(value) for value in self.history],
        }


def scoreboard(plan: Plan, values: Mapping[str, Sequence[Value]], on: date) -> tuple[Row, ...]:
    """How every goal that had begun stands on a day, in the order of the plan.

    A goal is reached when its actual figure is; whether it was in the year that it was set for, its history
    tells.

    `values`: what is known of each measure, by its code, in any order. A figure counts from its `as_of` on,
    and for a goal that has ended only if its period had ended too. The actual figure is that of the latest
    period; of two that end together that of the longer one, because goals are set for years (inferred).
    Raises `ValueError` for the code of no measure, because its figures would be lost.
    """
    strangers = values.keys() - plan.measures
    if strangers:
        raise ValueError(f"values: measure no goal: {', '.join(sorted(strangers))}")
    return tuple(
        _row(plan, goal, values.get(goal.measure, ()), on)
        for goal in plan.goals
        if goal.effective_from is None or goal.effective_from <= on
    )


def _row(plan: Plan, goal: Goal, values: Sequence[Value], on: date) -> Row:
    closed = goal.effective_to is not None and goal.effective_to < on
    counted = (
        value
        for value in values
        if value.as_of <= on
        and (goal.effective_to is None or value.period.last <= goal.effective_to)
    )
    history = tuple(sorted(counted, key=_newness, reverse=True))
    if closed:
        standing = Standing.CLOSED
    elif not history:
        standing = Standing.UNKNOWN
    else:
        reached = history[0].value >= goal.value
        standing = Standing.REACHED if reached else Standing.NOT_REACHED
    return Row(goal, plan.unit(goal), standing, history)


def _newness(value: Value) -> tuple[date, int, date, Decimal, str]:
    """The order of figures; the last two only make it the same for every order of the input."""
    days = (value.period.last - value.period.first).days
    return value.period.last, days, value.as_of, value.value, value.source


def _as_dict(value: Value) -> dict[str, object]:
    return {
        "value": value.value,
        "period": str(value.period),
        "as_of": value.as_of,
        "source": value.source,
    }
