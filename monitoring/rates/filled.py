"""A rate's rule with its numbers filled in: how one figure of a report came about, Vietnamese and English."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from monitoring.rates.catalogue import Catalogue, Rate, Term, Words
from monitoring.rates.explain import Explained
from monitoring.rates.points import Count, Counts, share, term_points
from monitoring.rates.report import RateFigure, UnitRates, plain
from monitoring.rates.tables import number

_NUMBERS = Words(vi="số của kỳ này", en="the numbers of this period")
_UNKNOWN = Words(vi="chưa rõ", en="unknown")


def rate(catalogue: Catalogue, figure: RateFigure) -> Explained:
    """What was counted, what it comes to inside the hub and at the portal, and what has to be said."""
    one = figure.rate
    lines = [*_counted(catalogue, figure)]
    if figure.out_of_force:
        return Explained(one.code, _NUMBERS, (*lines, *(remark.words for remark in figure.remarks)))
    if figure.counts == figure.counts_shown:
        lines += _worked(one, figure.counts, Words(vi="", en=""))
    else:
        lines += _worked(one, figure.counts, Words(vi="trong trục: ", en="inside the hub: "))
        lines += _worked(one, figure.counts_shown, Words(vi="theo Cổng: ", en="at the portal: "))
    lines.append(_comes_to("trong trục", "inside the hub", figure.known.ratio, figure.known.score))
    if figure.determined:
        lines.append(
            _comes_to("Cổng hiện", "the portal shows", figure.shown.ratio, figure.shown.score)
        )
    else:
        lines.append(
            Words(
                vi="Cổng hiện: không suy ra được, vì thiếu số liệu",
                en="the portal shows: cannot be told, figures are missing",
            )
        )
    lines += (remark.words for remark in figure.remarks)
    return Explained(one.code, _NUMBERS, tuple(lines))


def block(catalogue: Catalogue, unit: UnitRates, code: str) -> Explained:
    """How a unit's total of a block comes about. Raises `KeyError` for a block that is not there."""
    of = catalogue.blocks[code]
    whole = next((one for one in unit.blocks if one.block == code), None)
    if whole is None:
        raise KeyError(code)
    lines = []
    for figure in unit.rates:
        if figure.rate.block == code and figure.rate.maximum:
            maximum = number(figure.rate.maximum)
            shown = _written(figure.shown.score)
            lines.append(
                Words(
                    vi=f"{figure.rate.code}: {_written(figure.known.score)} (Cổng {shown}), tối đa {maximum}",
                    en=f"{_written(figure.known.score)} (the portal {shown}) of {maximum}",
                )
            )
    at_least = Words(vi="ít nhất ", en="at least ") if whole.without else Words(vi="", en="")
    shown = _written(whole.shown.score)
    maximum = number(whole.maximum)
    lines.append(
        Words(
            vi=f"tổng trong trục: {_written(whole.known.score)}; Cổng hiện: {at_least.vi}{shown}, tối đa {maximum}",
            en=f"together inside the hub: {_written(whole.known.score)}; the portal shows {at_least.en}{shown} of {maximum}",
        )
    )
    if whole.without:
        codes = ", ".join(whole.without)
        lines.append(
            Words(
                vi=f"chưa gồm: {codes}",
                en="left out: no figures, or not to be reproduced from public data",
            )
        )
    return Explained(code, Words(vi=of.vi, en=of.en), tuple(lines))


def _counted(catalogue: Catalogue, figure: RateFigure) -> Iterator[Words]:
    for name, counted in figure.counts.items():
        quantity = catalogue.quantities[name]
        at_portal = figure.counts_shown[name]
        vi, en = (
            f"[{quantity.vi}] = {_count(counted).vi}",
            f"[{quantity.en}] = {_count(counted).en}",
        )
        if at_portal != counted:
            vi += f" (Cổng: {_count(at_portal).vi})"
            en += f" (the portal: {_count(at_portal).en})"
        yield Words(vi=vi, en=en)


def _worked(rate: Rate, counts: Counts, before: Words) -> Iterator[Words]:
    """The arithmetic, a line for each share and for its points."""
    several = len(rate.terms) > 1
    for place, term in enumerate(rate.terms, start=1):
        which = f" {place}" if several else ""
        yield from _term(rate, term, counts, before, which)


def _term(rate: Rate, term: Term, counts: Counts, before: Words, which: str) -> Iterator[Words]:
    pairs = [term, *([term.times] if term.times else [])]
    of = [counts[pair.numerator] for pair in pairs]
    by = [counts[pair.denominator] for pair in pairs]
    fraction = f"100 × {_product(of)} / {_product(by)}"
    share_of = Words(vi=f"{before.vi}tỷ lệ{which}", en=f"{before.en}share{which}")
    numerator, denominator = _multiplied(of), _multiplied(by)
    if numerator is None or denominator is None:
        yield Words(
            vi=f"{share_of.vi} = {fraction}: chưa tính được", en=f"{share_of.en}: cannot be told"
        )
        return
    if not denominator:
        yield Words(
            vi=f"{share_of.vi} = {fraction}: mẫu số bằng 0",
            en=f"{share_of.en}: the denominator is 0",
        )
        return
    rounded = share(numerator, denominator, rate.decimals)
    yield Words(
        vi=f"{share_of.vi} = {fraction} = {number(rounded)} %",
        en=f"{share_of.en} = {number(rounded)} %",
    )
    if term.weight:
        points = term_points(rounded, term.weight, term.full_at, rate.decimals)
        weight, full = number(term.weight), number(term.full_at)
        yield Words(
            vi=f"{before.vi}điểm{which} = nhỏ hơn trong {weight} và {number(rounded)} × {weight} / {full} = {number(points)}",
            en=f"{before.en}points{which} = the smaller of {weight} and {number(rounded)} × {weight} / {full} = {number(points)}",
        )


def _multiplied(counts: list[Count | None]) -> Count | None:
    whole: Count = 1
    for one in counts:
        if one is None:
            return None
        whole *= one
    return whole


def _product(counts: list[Count | None]) -> str:
    told = " × ".join(_count(one).vi for one in counts)
    return f"({told})" if len(counts) > 1 else told


def _count(value: Count | None) -> Words:
    return _UNKNOWN if value is None else Words(vi=f"{plain(value)}", en=f"{plain(value)}")


def _comes_to(vi: str, en: str, ratio: Decimal | None, score: Decimal | None) -> Words:
    return Words(
        vi=f"{vi}: tỷ lệ {_written(ratio)}, điểm {_written(score)}",
        en=f"{en}: ratio {_written(ratio)}, score {_written(score)}",
    )


def _written(value: Decimal | None) -> str:
    return "–" if value is None else f"{number(value)}"
