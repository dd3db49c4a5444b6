"""A rate's rule in words, Vietnamese and English, from the catalogue alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from monitoring.rates.catalogue import METRICS, Catalogue, Pair, Rate, Shown, Term, Words

_CERTAINTY = {
    "reproduced": Words(
        vi="tái tạo đúng mọi số đã công bố của một tháng (Phú Thọ, 08/2026)",
        en="reproduces every figure published for a month (Phú Thọ, August 2026)",
    ),
    "partly": Words(
        vi="khớp số đã công bố, nhưng số đó không thử hết quy tắc",
        en="agrees with what was published, which does not exercise the whole rule",
    ),
    "described": Words(
        vi="chỉ theo mô tả, chưa có số công bố để kiểm tra",
        en="from the description only; nothing published to check it against",
    ),
    "own": Words(
        vi="định nghĩa của trục; không văn bản nào chấm điểm tỷ lệ này",
        en="defined by the hub; no document scores it",
    ),
}

IN_SHORT = {
    "reproduced": Words(vi="đã kiểm chứng", en="verified"),
    "partly": Words(vi="kiểm chứng một phần", en="verified in part"),
    "described": Words(vi="theo mô tả", en="as described"),
    "own": Words(vi="của trục", en="the hub's own"),
}
"""How sure a rule is, for a table."""

_COMPARED = {
    "time": Words(vi="theo thời điểm (ngày giờ)", en="by time stamp"),
    "date": Words(vi="theo ngày", en="by date"),
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A rate (one version) or a block: its code, its name, and a line for each thing to be said."""

    code: str
    name: Words
    lines: tuple[Words, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "code": self.code,
            "name": self.name.model_dump(),
            "lines": [line.model_dump() for line in self.lines],
        }


def rate(catalogue: Catalogue, one: Rate) -> Explained:
    """The rule step by step, then where it comes from and how sure it is."""
    return Explained(
        one.code, Words(vi=one.vi, en=one.en), (*_formula(catalogue, one), *_facts(one))
    )


def block(catalogue: Catalogue, code: str) -> Explained:
    """A unit's total of a block. Raises `KeyError`."""
    one = catalogue.blocks[code]
    maximum = _plain(one.maximum)
    if one.reproducible:
        lines: tuple[Words, ...] = (
            Words(
                vi=f"điểm = tổng điểm các tỷ lệ của nhóm (điểm không hiện tính là 0), tối đa {maximum}",
                en=f"score = the sum of the rates' scores (one not shown counts as 0), at most {maximum}",
            ),
            Words(
                vi=f"tỷ lệ = 100 × điểm / {maximum}, làm tròn 2 chữ số (nửa thì lên)",
                en=f"ratio = 100 × score / {maximum}, rounded half up to 2 decimals",
            ),
        )
    else:
        lines = (
            Words(
                vi=f"tối đa {maximum} điểm; tổng điểm không tái tạo được từ số liệu công khai",
                en=f"{maximum} points at most; the total cannot be reproduced from public data",
            ),
        )
    rates = (
        Words(vi=f"{each.code} ({_plain(each.maximum)}): {each.vi}", en=each.en)
        for each in catalogue.rates_of(code)
    )
    return Explained(code, Words(vi=one.vi, en=one.en), (*lines, *rates))


def _formula(catalogue: Catalogue, rate: Rate) -> Iterator[Words]:
    """The rule, a line for each step: shares, points, ratio, the empty denominator."""
    several = len(rate.terms) > 1
    for number, term in enumerate(rate.terms, start=1):
        which = f" {number}" if several else ""
        of, by = _fraction(catalogue, term)
        yield Words(
            vi=f"tỷ lệ{which} = 100 × {of.vi} / {by.vi}, làm tròn {rate.decimals} chữ số (nửa thì lên)",
            en=f"share{which} = 100 × {of.en} / {by.en}, rounded half up to {rate.decimals} decimals",
        )
        yield _points(rate, term, which)
    if several:
        yield Words(vi="điểm = tổng điểm các thành phần", en="score = the sum of the points")
    if rate.ratio == "of_score":
        yield Words(
            vi=f"tỷ lệ Cổng hiện = 100 × điểm / {_plain(rate.maximum)}",
            en=f"ratio shown by the portal = 100 × score / {_plain(rate.maximum)}",
        )
    elif rate.ratio == "not_shown":
        yield Words(vi="Cổng không hiện tỷ lệ này", en="the portal does not show this ratio")
    yield from _empty(rate)


def _facts(rate: Rate) -> Iterator[Words]:
    if rate.compared_by is not None:
        compared = _COMPARED[rate.compared_by]
        yield Words(vi=f"so hạn {compared.vi}", en=f"deadlines are compared {compared.en}")
    columns = _columns(rate)
    if columns:
        yield Words(vi=f"cột của Cổng: {columns}", en="the portal's columns")
    yield Words(vi=f"căn cứ: {rate.source}", en="source")
    yield _in_force(rate)
    certainty = _CERTAINTY[rate.certainty]
    yield Words(vi=f"mức chắc chắn: {certainty.vi}", en=f"certainty: {certainty.en}")
    if rate.note is not None:
        yield Words(vi=f"lưu ý: {rate.note.vi}", en=f"note: {rate.note.en}")


def _fraction(catalogue: Catalogue, term: Term) -> tuple[Words, Words]:
    def named(name: str) -> Words:
        quantity = catalogue.quantities[name]
        return Words(vi=f"[{quantity.vi}]", en=f"[{quantity.en}]")

    def times(one: Words, other: Words) -> Words:
        return Words(vi=f"({one.vi} × {other.vi})", en=f"({one.en} × {other.en})")

    of, by = named(term.numerator), named(term.denominator)
    if term.times is None:
        return of, by
    return times(of, named(term.times.numerator)), times(by, named(term.times.denominator))


def _points(rate: Rate, term: Term, which: str) -> Words:
    full = _plain(term.full_at)
    if term.weight is None:
        full_vi = f", đủ điểm từ {full} %" if term.full_at < 100 else ""
        full_en = f", full from {full} %" if term.full_at < 100 else ""
        return Words(
            vi=f"điểm{which}: không công bố{full_vi}", en=f"points{which}: not public{full_en}"
        )
    if not term.weight:
        return Words(
            vi=f"điểm{which}: chỉ theo dõi, không chấm",
            en=f"points{which}: none, for tracking only",
        )
    weight = _plain(term.weight)
    return Words(
        vi=f"điểm{which} = nhỏ hơn trong {weight} và tỷ lệ{which} × {weight} / {full}, làm tròn như trên",
        en=f"points{which} = the smaller of {weight} and share{which} × {weight} / {full}, rounded likewise",
    )


def _empty(rate: Rate) -> Iterator[Words]:
    yield Words(
        vi="mẫu số bằng 0 hoặc không có: trong trục là chưa biết",
        en="denominator 0 or absent: unknown inside the hub",
    )
    if not _columns(rate):
        return
    for number, term in enumerate(rate.terms, start=1):
        which_vi = f" (thành phần {number})" if len(rate.terms) > 1 else ""
        which_en = f" (term {number})" if len(rate.terms) > 1 else ""
        yield Words(
            vi=f"khi đó Cổng hiện{which_vi}: {_shown(rate, term.when_empty, 'tỷ lệ', 'điểm', 'không hiện gì')}",
            en=f"the portal then shows{which_en}: {_shown(rate, term.when_empty, 'ratio', 'score', 'nothing')}",
        )


def _shown(rate: Rate, empty: Shown, ratio: str, score: str, nothing: str) -> str:
    parts = []
    if empty.ratio is not None and rate.ratio == "share":
        parts.append(f"{ratio} {_plain(empty.ratio)}")
    if empty.score is not None:
        parts.append(f"{score} {_plain(empty.score)}")
    return ", ".join(parts) or nothing


def _columns(rate: Rate) -> str:
    pairs = [term.columns for term in rate.terms if term.columns is not None]
    if rate.metrics_row:
        pairs = [Pair(numerator=METRICS[0], denominator=METRICS[1])]
    return "; ".join(f"{pair.numerator} / {pair.denominator}" for pair in pairs)


def _in_force(rate: Rate) -> Words:
    if rate.effective_from is None:
        return Words(
            vi=f"cách tính {rate.version}: chưa rõ đã áp dụng",
            en=f"version {rate.version}: not known to be in force",
        )
    first, last = rate.effective_from, rate.effective_to
    until_vi = f" đến {last:%d/%m/%Y}" if last else ""
    until_en = f" to {last}" if last else ""
    return Words(
        vi=f"cách tính {rate.version}: từ {first:%d/%m/%Y}{until_vi}",
        en=f"version {rate.version}: from {first}{until_en}",
    )


def _plain(value: Decimal | None) -> str:
    return f"{value:f}" if value is not None else "–"
