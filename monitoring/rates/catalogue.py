"""The catalogue of rates: what is divided by what, what it is worth, and where the rule comes from.

`catalogue.toml` is the data, this module its types and its reading. A rate is one version of one code, in
force from a day to a day; its terms are worth points, which are added up. What is left out of the file is
unknown, or is not shown by the portal. `integration.toml` has the hub's own rates in the same form: nobody
scores them, so they are a catalogue of their own, worth no points.

Source of the rules: Decision 766/QĐ-TTg of 23 June 2022 as the portal runs it; see README.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitoring.rates.toml_tables import load

TOTAL = "_TOTAL"
"""The portal's code for the row of a block's total."""

METRICS = ("numerator", "denominator")
"""The columns of the counts in the portal's metrics table."""

_ONE_OF = {"quantities": "quantity", "blocks": "block", "rates": "rate"}

Points = Annotated[Decimal, Field(ge=0)]


class CatalogueError(ValueError):
    """A catalogue cannot be used. The text names every mistake with code and field."""


class UnknownRate(LookupError):
    """No rate has this code. `near` are codes that look like it."""

    def __init__(self, code: str, near: Sequence[str]) -> None:
        super().__init__(f"unknown rate {code!r}; near: {', '.join(near) or 'none'}")
        self.code = code
        self.near = tuple(near)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Words(_Table):
    """A name or a sentence, Vietnamese first."""

    vi: str
    en: str


class Quantity(Words):
    """Something that is counted, of one unit in one period."""

    counts: Literal["dossiers", "procedures", "communes", "petitions", "deliveries"]


class Pair(_Table):
    """A numerator and a denominator, by the names of quantities or of columns."""

    numerator: str
    denominator: str


class Shown(_Table):
    """What the portal shows; None where it shows nothing. `ratio` in per cent, `score` in points."""

    ratio: Decimal | None = None
    score: Points | None = None


class Term(Pair):
    """One share and its points: min(`weight`, share · `weight` / `full_at`).

    Without `weight` nobody says what the share is worth; a weight of 0 is for tracking only. Of neither
    the portal shows points. The share is multiplied by that of `times`, if there is one.
    """

    weight: Points | None = None
    full_at: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(100)  # per cent
    times: Pair | None = None
    columns: Pair | None = None  # of the portal's table of counts, where this term has its own
    when_empty: Shown = Shown()  # what the portal shows when the denominator is 0 or absent

    @property
    def quantities(self) -> tuple[str, ...]:
        """The names of what is counted for this term."""
        times = (self.times.numerator, self.times.denominator) if self.times else ()
        return (self.numerator, self.denominator, *times)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.numerator == self.denominator:
            raise ValueError(f"{self.numerator} is divided by itself")
        if self.when_empty.score is not None and self.when_empty.score > (self.weight or 0):
            raise ValueError("when_empty.score is above the weight")
        return self


class Rate(Words):
    """One version of one rate.

    `ratio` says what the portal shows as its ratio: the share of its only term, 100 · score / maximum, or
    nothing. `compared_by`: whether its deadline is met by the time of day or by the date, where it has one.
    Without `effective_from` it is not known to be in force. `metrics_row`: the portal's metrics table has
    rows of this code.
    """

    code: str
    version: Annotated[int, Field(ge=1)]
    block: str
    ratio: Literal["share", "of_score", "not_shown"]
    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    metrics_row: bool = False
    compared_by: Literal["time", "date"] | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] = 2  # half up: shares, points and ratio alike
    effective_from: date | None = None
    effective_to: date | None = None  # the last day
    source: str
    certainty: Literal["reproduced", "partly", "described", "own"]
    note: Words | None = None

    @property
    def maximum(self) -> Decimal | None:
        """The points that can be had; None where that is not public."""
        weights = [term.weight for term in self.terms]
        return None if None in weights else sum((w for w in weights if w is not None), Decimal(0))

    def in_force(self, on: date) -> bool:
        """Whether this version is known to hold on that day."""
        return (
            self.effective_from is not None
            and self.effective_from <= on
            and (self.effective_to is None or on <= self.effective_to)
        )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        own = [term.columns is not None for term in self.terms]
        if self.ratio != "of_score" and len(self.terms) != 1:
            raise ValueError(f"ratio = {self.ratio!r} needs exactly one term")
        if self.ratio == "of_score" and not self.maximum:
            raise ValueError("ratio = 'of_score' needs a weight in every term")
        if self.metrics_row and (len(self.terms) != 1 or own[0]):
            raise ValueError("metrics_row needs exactly one term, without columns of its own")
        if any(own) != all(own):
            raise ValueError("columns are given for some terms only")
        if self.effective_to is not None and (
            self.effective_from is None or self.effective_to < self.effective_from
        ):
            raise ValueError("effective_to lies before effective_from")
        return self


class Block(Words):
    """One of the six groups of the portal; its key is the portal's name of the service.

    `maximum` in points. `reproducible`: whether the published total follows from published counts.
    """

    maximum: Points
    reproducible: bool = True


class Catalogue(_Table):
    """All rates, with what they count and the blocks they belong to.

    `points`: what the blocks are worth together; 100 are those of Decision 766.
    """

    points: Points = Decimal(100)
    quantities: dict[str, Quantity]
    blocks: dict[str, Block]
    rates: tuple[Rate, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all rates, each once, in the order of the catalogue."""
        return tuple(dict.fromkeys(rate.code for rate in self.rates))

    def versions(self, code: str) -> tuple[Rate, ...]:
        """Every version of a rate, oldest first. Raises `UnknownRate`."""
        found = sorted((one for one in self.rates if one.code == code), key=lambda one: one.version)
        if not found:
            raise UnknownRate(code, near(code, self.codes))
        return tuple(found)

    def rate(self, code: str, on: date | None = None) -> Rate | None:
        """The version in force on that day, None if none is; without a day the newest version.

        Raises `UnknownRate`.
        """
        versions = self.versions(code)
        if on is None:
            return versions[-1]
        return next((one for one in versions if one.in_force(on)), None)

    def rates_of(self, block: str) -> tuple[Rate, ...]:
        """The newest versions of the rates of a block."""
        newest = (self.versions(code)[-1] for code in self.codes)
        return tuple(rate for rate in newest if rate.block == block)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        mistakes = [*self._unknown_names(), *self._clashing_versions(), *self._wrong_sums()]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _unknown_names(self) -> Iterator[str]:
        used: set[str] = set()
        for rate in self.rates:
            if rate.block not in self.blocks:
                yield f"rate {rate.code}: block: {rate.block!r} is not among the blocks"
            for number, term in enumerate(rate.terms):
                used.update(term.quantities)
                for name in term.quantities:
                    if name not in self.quantities:
                        yield f"rate {rate.code}: terms.{number}: {name!r} is not among the quantities"
        for name in self.quantities:
            if name not in used:
                yield f"quantity {name}: no rate counts it"

    def _clashing_versions(self) -> Iterator[str]:
        for one, other in combinations(self.rates, 2):
            if one.code != other.code:
                continue
            if one.version == other.version:
                yield f"rate {one.code}: version: {one.version} is given twice"
            elif any(
                day is not None and a.in_force(day)
                for a, day in ((one, other.effective_from), (other, one.effective_from))
            ):
                yield f"rate {one.code}: effective_from: versions {one.version} and {other.version} overlap"

    def _wrong_sums(self) -> Iterator[str]:
        for code, block in self.blocks.items():
            worth = sum((rate.maximum or 0 for rate in self.rates_of(code)), Decimal(0))
            if block.reproducible and worth != block.maximum:
                yield f"block {code}: maximum: {block.maximum}, but its rates are worth {worth}"
        whole = sum(block.maximum for block in self.blocks.values())
        if whole != self.points:
            yield f"blocks: maximum: they are worth {whole} together, not {self.points}"


def near(code: str, codes: Sequence[str]) -> tuple[str, ...]:
    """The codes that look most like this one, whatever the case of their letters."""
    folded = {one.casefold(): one for one in codes}
    found = difflib.get_close_matches(code.casefold(), folded, n=4, cutoff=0.5)
    return tuple(folded[one] for one in found)


@cache
def packaged() -> Catalogue:
    """The catalogue that comes with the hub. Raises `CatalogueError`."""
    return _packaged("catalogue.toml")


@cache
def hub_rates() -> Catalogue:
    """The hub's own rates of integration, counted by `integration.py`. Raises `CatalogueError`."""
    return _packaged("integration.toml")


def _packaged(name: str) -> Catalogue:
    file = resources.files(__package__) / name
    return read(file.read_text(encoding="utf-8"), name)


def read(text: str, where: str) -> Catalogue:
    """A catalogue written in TOML. Raises `CatalogueError`, which names `where`, code and field."""
    return load(Catalogue, text, where, _ONE_OF, CatalogueError)
