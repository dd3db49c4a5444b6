"""Shares and points, to the last digit as the portal computes them.

The portal rounds a share to two decimals, half up; makes points of the rounded share in IEEE double, in
the order of `term_points`; and rounds those half up on their exact binary value, which is what JavaScript's
toFixed does. Decimal arithmetic gives another last digit now and then, so the order and the types here are
part of the rule. Source: README.md; checked on every figure published for a month of a province.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from monitoring.rates.catalogue import Rate, Shown, Term

Count = int | Fraction
"""How many; a fraction only where a year's figure stands for a month."""

Counts = Mapping[str, Count | None]
"""Name of a quantity -> its count, None where it is not known."""

_WHOLE = 100  # per cent


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio in per cent and a score in points; None is unknown inside the hub, not shown at the portal."""

    ratio: Decimal | None
    score: Decimal | None


def half_up(value: Fraction | float, decimals: int = 2) -> Decimal:
    """The value rounded half up; of a float its exact binary value. For values of 0 and above."""
    return Decimal(math.floor(Fraction(value) * 10**decimals + Fraction(1, 2))).scaleb(-decimals)


def share(numerator: Count, denominator: Count, decimals: int = 2) -> Decimal:
    """100 · numerator / denominator, in per cent. Raises `ZeroDivisionError`."""
    return half_up(Fraction(numerator) * _WHOLE / Fraction(denominator), decimals)


def term_points(
    rounded: Decimal, weight: Decimal, full_at: Decimal = Decimal(_WHOLE), decimals: int = 2
) -> Decimal:
    """The points of a share that is already rounded: in double, first times weight, then over full_at."""
    worth = float(weight)
    return half_up(min(worth, float(rounded) * worth / float(full_at)), decimals)


def known(rate: Rate, counts: Counts) -> Figure:
    """What the hub knows: without a count, or over an empty denominator, nothing.

    Its ratio is the share also where the portal shows none. Raises `KeyError` for a quantity that
    `counts` does not name.
    """
    parts = [_known(term, counts, rate.decimals) for term in rate.terms]
    score = _sum(part.score for part in parts)
    if rate.ratio == "of_score":
        return Figure(_of_score(rate, score), score)
    return Figure(parts[0].ratio, score)


def shown(rate: Rate, counts: Counts) -> Figure:
    """What the portal would show for these counts. Raises as `known`."""
    parts = [_shown(term, counts, rate.decimals) for term in rate.terms]
    score = _sum(part.score for part in parts)
    if rate.ratio == "of_score":
        return Figure(_of_score(rate, score), score)
    return Figure(parts[0].ratio if rate.ratio == "share" else None, score)


def total(scores: Iterable[Decimal | None], maximum: Decimal, decimals: int = 2) -> Figure:
    """A unit's total of a block: a score that is not shown counts as 0, the maximum stays."""
    whole = sum((score for score in scores if score is not None), Decimal(0))
    return Figure(share(Fraction(whole), Fraction(maximum), decimals) if maximum else None, whole)


def _known(term: Term, counts: Counts, decimals: int) -> Figure:
    numerator, denominator = _multiplied(term, counts)
    if numerator is None or not denominator:
        return Figure(None, None)
    rounded = share(numerator, denominator, decimals)
    if not term.weight:
        return Figure(rounded, None)
    return Figure(rounded, term_points(rounded, term.weight, term.full_at, decimals))


def _shown(term: Term, counts: Counts, decimals: int) -> Figure | Shown:
    _, denominator = _multiplied(term, counts)
    return _known(term, counts, decimals) if denominator else term.when_empty


def _multiplied(term: Term, counts: Counts) -> tuple[Count | None, Count | None]:
    numerator, denominator = counts[term.numerator], counts[term.denominator]
    if term.times is None:
        return numerator, denominator
    return (
        _product(numerator, counts[term.times.numerator]),
        _product(denominator, counts[term.times.denominator]),
    )


def _product(one: Count | None, other: Count | None) -> Count | None:
    return None if one is None or other is None else one * other


def _sum(scores: Iterable[Decimal | None]) -> Decimal | None:
    whole = Decimal(0)
    for score in scores:
        if score is None:
            return None
        whole += score
    return whole


def _of_score(rate: Rate, score: Decimal | None) -> Decimal | None:
    if score is None or not rate.maximum:
        return None
    return share(Fraction(score), Fraction(rate.maximum), rate.decimals)
