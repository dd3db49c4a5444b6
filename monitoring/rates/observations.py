"""Indicator observations: which are taken, what is said of the others, and which figure holds.

A figure is what is said of one indicator, agency and period. The first observation of it opens its story;
what comes later corrects that first one and never another correction, so the story reads in one line. An
observation that is not taken has a reason for every fault. Texts name the field and the remedy and repeat
nothing of what was sent. Pure: who keeps observations is no business of this module.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from monitoring.rates.catalogue import Words, near
from monitoring.rates.periods import KIND_WORDS, WRITE_PERIOD, Period, parse_period
from monitoring.rates.plan import HIGHEST, UNIT_WORDS, WHOLE, Indicator, Plan, Value
from schemas.dossier.working_calendar import civil_day
from schemas.records import IndicatorObservation

DECIMALS = 4
"""A figure's decimals at most; the schema holds no more."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours a sender's clock may be."""

CODE = re.compile("[a-z0-9][a-z0-9._-]{0,63}")
"""A system or an account: a code, so that no name of a person stands there."""

_ID = re.compile("[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_DOCUMENT = re.compile("[0-9]{1,6}[A-Z]?/[A-ZĐ0-9][A-ZĐa-zđ0-9./-]{0,38}")  # number and notation


class Refusal(StrEnum):
    """Why an observation is not taken."""

    ID_INVALID = "id_invalid"
    ID_REUSED = "id_reused"
    UNKNOWN_INDICATOR = "unknown_indicator"
    UNKNOWN_AGENCY = "unknown_agency"
    PERIOD_INVALID = "period_invalid"
    PERIOD_NOT_OF_INDICATOR = "period_not_of_indicator"
    PERIOD_NOT_ENDED = "period_not_ended"
    AS_OF_BEFORE_PERIOD_END = "as_of_before_period_end"
    AS_OF_IN_FUTURE = "as_of_in_future"
    WRONG_UNIT = "wrong_unit"
    VALUE_MISSING = "value_missing"
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    VALUE_TOO_FINE = "value_too_fine"
    PROVENANCE_INVALID = "provenance_invalid"
    SUBMITTER_INVALID = "submitter_invalid"
    OBSERVED_IN_FUTURE = "observed_in_future"
    CORRECTS_UNKNOWN = "corrects_unknown"
    CORRECTS_CORRECTION = "corrects_correction"
    CORRECTS_ANOTHER = "corrects_another"
    NOT_NEWER = "not_newer"
    ALREADY_OBSERVED = "already_observed"


@dataclass(frozen=True, slots=True)
class Refused:
    """One fault: why, in which field (`system` and `document` are those of the provenance), and what to do."""

    reason: Refusal
    field: str
    words: Words


class Subject(NamedTuple):
    """What a figure is about."""

    indicator: str
    agency: str
    period: str


def subject(observation: IndicatorObservation) -> Subject:
    """What an observation is about."""
    return Subject(observation.indicator, observation.agency, observation.period)


# --- which are taken ---------------------------------------------------------------------------------


def refused(
    observation: IndicatorObservation,
    *,
    plan: Plan,
    agencies: Container[str],
    known: Iterable[IndicatorObservation],
    now: datetime,
) -> tuple[Refused, ...]:
    """Every reason not to take an observation; none: it is taken.

    `known` are the observations that were taken before; those of the same figure, the one with the same id
    and the one that is corrected are enough. What is there already and says the same is taken again and
    changes nothing, so a message that arrives twice is no fault. `agencies` holds the codes that are known,
    `now` is aware.
    """
    earlier = {other.observation_id: other for other in known}
    same = earlier.get(observation.observation_id)
    if same is not None and _says_the_same(same, observation):
        return ()
    return (
        *_identity(observation, same),
        *_scope(observation, plan, agencies, now),
        *_value(observation, plan.indicators.get(observation.indicator)),
        *_origin(observation, now),
        *_story(observation, earlier),
    )


def _identity(
    observation: IndicatorObservation, same: IndicatorObservation | None
) -> Iterator[Refused]:
    if not _ID.fullmatch(observation.observation_id):
        yield Refused(
            Refusal.ID_INVALID,
            "observation_id",
            Words(
                vi="mã số liệu không hợp lệ; dùng chữ không dấu, số và . _ : / - (tối đa 64 ký tự)",
                en="is no id; use letters without marks, digits and . _ : / - (at most 64 characters)",
            ),
        )
    if same is not None:
        yield Refused(
            Refusal.ID_REUSED,
            "observation_id",
            Words(
                vi="mã này đã dùng cho số liệu khác; đặt mã mới, và nếu là đính chính thì ghi corrects",
                en="is already that of another observation; give a new id, and corrects if it is a correction",
            ),
        )


def _scope(
    observation: IndicatorObservation, plan: Plan, agencies: Container[str], now: datetime
) -> Iterator[Refused]:
    indicator = plan.indicators.get(observation.indicator)
    if indicator is None:
        like = ", ".join(near(observation.indicator, tuple(plan.indicators)))
        yield Refused(
            Refusal.UNKNOWN_INDICATOR,
            "indicator",
            Words(
                vi="không có trong danh mục chỉ số" + (f"; gần giống: {like}" if like else ""),
                en="is no indicator of the plan" + (f"; near: {like}" if like else ""),
            ),
        )
    if observation.agency not in agencies:
        yield Refused(
            Refusal.UNKNOWN_AGENCY,
            "agency",
            Words(
                vi="không có trong danh mục cơ quan; ghi mã định danh, ví dụ H44.07",
                en="is no known agency; give its identification code, for instance H44.07",
            ),
        )
    period = parse_period(observation.period)
    if period is None:
        vi, en = WRITE_PERIOD
        yield Refused(Refusal.PERIOD_INVALID, "period", Words(vi=vi, en=en))
        return
    if indicator is not None and not indicator.takes(period):
        yield Refused(Refusal.PERIOD_NOT_OF_INDICATOR, "period", _periods(indicator))
    yield from _days(observation.as_of, period, civil_day(now))


def _periods(indicator: Indicator) -> Words:
    """Which periods an indicator has figures for."""
    kinds = ", ".join(kind.value for kind in indicator.periods)
    kinds_vi = ", ".join(KIND_WORDS[kind] for kind in indicator.periods)
    last = indicator.effective_to
    return Words(
        vi=f"chỉ số này chỉ có kỳ {kinds_vi}" + (f", đến hết {last:%d/%m/%Y}" if last else ""),
        en=f"the indicator has the periods {kinds} only" + (f", up to {last}" if last else ""),
    )


def _days(as_of: date, period: Period, today: date) -> Iterator[Refused]:
    if period.last >= today:
        yield Refused(
            Refusal.PERIOD_NOT_ENDED,
            "period",
            Words(
                vi=f"kỳ chưa kết thúc; gửi sau ngày {period.last:%d/%m/%Y}",
                en=f"has not ended; submit it after {period.last}",
            ),
        )
    if as_of < period.last:
        yield Refused(
            Refusal.AS_OF_BEFORE_PERIOD_END,
            "as_of",
            Words(
                vi=f"số liệu chưa gồm cả kỳ; cần tính đến ngày {period.last:%d/%m/%Y} trở đi",
                en=f"leaves out a part of the period; it has to be {period.last} or later",
            ),
        )
    if as_of > today:
        yield Refused(
            Refusal.AS_OF_IN_FUTURE,
            "as_of",
            Words(vi="ở sau ngày hôm nay; xem lại ngày", en="is after today; check the date"),
        )


def _value(observation: IndicatorObservation, indicator: Indicator | None) -> Iterator[Refused]:
    """An unknown indicator has no unit and no range; that is said elsewhere."""
    value = observation.value
    if value is None and observation.corrects is None:
        yield Refused(
            Refusal.VALUE_MISSING,
            "value",
            Words(
                vi="thiếu số liệu; chỉ đính chính mới được bỏ trống, để rút lại số liệu đã gửi",
                en="is missing; only a correction may leave it out, to take a figure back",
            ),
        )
    if value is not None and _decimals(value) > DECIMALS:
        yield Refused(
            Refusal.VALUE_TOO_FINE,
            "value",
            Words(
                vi=f"có quá {DECIMALS} chữ số thập phân; làm tròn rồi gửi lại",
                en=f"has more than {DECIMALS} decimals; round it and send it again",
            ),
        )
    if indicator is None:
        return
    if observation.unit != indicator.unit:
        yield Refused(
            Refusal.WRONG_UNIT,
            "unit",
            Words(
                vi=f"sai đơn vị; chỉ số này tính bằng {UNIT_WORDS[indicator.unit]}: ghi {indicator.unit}",
                en=f"is another unit; the indicator is in {indicator.unit}",
            ),
        )
    elif value is not None and not _possible(value, indicator):
        highest = HIGHEST[indicator.unit]
        either = (
            Words(vi="ghi 1 (có) hoặc 0 (chưa)", en="write 1 (yes) or 0 (no)")
            if indicator.unit == "yes_no"
            else Words(
                vi=f"ghi số{' nguyên' if indicator.unit in WHOLE else ''} từ 0 đến {highest}",
                en=f"write a {'whole ' if indicator.unit in WHOLE else ''}number from 0 to {highest}",
            )
        )
        yield Refused(
            Refusal.VALUE_OUT_OF_RANGE,
            "value",
            Words(vi=f"ngoài khoảng cho phép; {either.vi}", en=f"is out of range; {either.en}"),
        )


def _decimals(value: Decimal) -> int:
    """How many decimals are written, zeros at the end too; of no number 0."""
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _possible(value: Decimal, indicator: Indicator) -> bool:
    if not value.is_finite():
        return False
    if indicator.unit in WHOLE and value != value.to_integral_value():
        return False
    return 0 <= value <= HIGHEST[indicator.unit]


def _origin(observation: IndicatorObservation, now: datetime) -> Iterator[Refused]:
    """Codes and numbers only, because an observation holds no personal data."""
    code = Words(
        vi="ghi mã hệ thống: chữ thường không dấu, số và . _ - (tối đa 64 ký tự)",
        en="write the code of a system: small letters, digits and . _ - (at most 64 characters)",
    )
    document = observation.provenance.document
    if not CODE.fullmatch(observation.provenance.system):
        yield Refused(Refusal.PROVENANCE_INVALID, "system", code)
    if document is not None and not _DOCUMENT.fullmatch(document):
        yield Refused(
            Refusal.PROVENANCE_INVALID,
            "document",
            Words(
                vi="ghi số, ký hiệu văn bản, ví dụ 123/BC-STTTT, hoặc để trống",
                en="write the number of a document, for instance 123/BC-STTTT, or leave it out",
            ),
        )
    if not CODE.fullmatch(observation.submitted_by):
        yield Refused(Refusal.SUBMITTER_INVALID, "submitted_by", code)
    if observation.observed_at > now + CLOCK_SKEW:
        yield Refused(
            Refusal.OBSERVED_IN_FUTURE,
            "observed_at",
            Words(
                vi="ở sau giờ hiện tại; chỉnh lại đồng hồ của hệ thống gửi",
                en="lies in the future; set the clock of the sending system right",
            ),
        )


def _story(
    observation: IndicatorObservation, earlier: Mapping[str, IndicatorObservation]
) -> Iterator[Refused]:
    others = [
        other
        for other in earlier.values()
        if subject(other) == subject(observation)
        and other.observation_id != observation.observation_id
    ]
    if observation.corrects is None:
        first = next((other for other in others if other.corrects is None), None)
        if first is not None:
            yield Refused(
                Refusal.ALREADY_OBSERVED,
                "period",
                Words(
                    vi=f"đã có số liệu {first.observation_id} cho kỳ này; nếu đính chính thì ghi mã đó ở corrects",
                    en=f"there is {first.observation_id} for this figure; to correct it, name that id in corrects",
                ),
            )
        return
    corrected = earlier.get(observation.corrects)
    if corrected is None:
        yield Refused(
            Refusal.CORRECTS_UNKNOWN,
            "corrects",
            Words(
                vi="không có số liệu nào mang mã này; gửi số liệu gốc trước",
                en="no observation has this id; submit the one that is corrected first",
            ),
        )
        return
    if corrected.corrects is not None:
        yield Refused(
            Refusal.CORRECTS_CORRECTION,
            "corrects",
            Words(
                vi=f"đó là một đính chính; ghi mã của số liệu gốc: {corrected.corrects}",
                en=f"that is a correction itself; name the first observation: {corrected.corrects}",
            ),
        )
    elif subject(corrected) != subject(observation):
        yield Refused(
            Refusal.CORRECTS_ANOTHER,
            "corrects",
            Words(
                vi="số liệu đó thuộc chỉ số, cơ quan hoặc kỳ khác; xem lại mã",
                en="that is of another indicator, agency or period; check the id",
            ),
        )
    else:
        newest = max((o.observed_at for o in others if o.corrects is not None), default=None)
        if newest is not None and observation.observed_at <= newest:
            yield Refused(
                Refusal.NOT_NEWER,
                "observed_at",
                Words(
                    vi="đã có đính chính cùng lúc hoặc mới hơn; chỉ giữ một, hoặc gửi lại với thời điểm mới",
                    en="there is a correction of this time or later; keep one, or submit it again with a new time",
                ),
            )


def _says_the_same(one: IndicatorObservation, other: IndicatorObservation) -> bool:
    """Whether two observations differ only in when and by whom they were submitted."""
    moved = replace(other, observed_at=one.observed_at, submitted_by=one.submitted_by)
    return one == moved


# --- which figure holds ------------------------------------------------------------------------------


def histories(
    observations: Iterable[IndicatorObservation],
) -> dict[Subject, tuple[IndicatorObservation, ...]]:
    """The story of every figure: its first observation, then its corrections by time of submission.

    The same for every order of the observations and however often each is there. A correction of nothing
    that is there, of a correction or of another figure is left out. Raises `ValueError` if one id says two
    things.
    """
    first = _by_id(observations)
    stories: dict[Subject, list[IndicatorObservation]] = defaultdict(list)
    for observation in first.values():
        if observation.corrects is None:
            stories[subject(observation)].append(observation)
            continue
        corrected = first.get(observation.corrects)
        if (
            corrected is not None
            and corrected.corrects is None
            and subject(corrected) == subject(observation)
        ):
            stories[subject(observation)].append(observation)
    return {about: tuple(sorted(stories[about], key=_place)) for about in sorted(stories)}


def current(
    observations: Iterable[IndicatorObservation],
) -> dict[Subject, IndicatorObservation]:
    """The observation that holds for every figure: the newest correction, else the first observation.

    One without a value says that the figure was taken back. Otherwise as `histories`.
    """
    return {about: story[-1] for about, story in histories(observations).items()}


def values_of(
    observations: Iterable[IndicatorObservation], agency: str
) -> dict[str, Sequence[Value]]:
    """The figures of one agency as the scoreboard takes them, by indicator; what was taken back is not there.

    Shares of several agencies cannot be added up, so the province's own figures are those that were
    submitted for the province. Raises `ValueError` as `histories`, and for a period that cannot be read.
    """
    found: dict[str, list[Value]] = defaultdict(list)
    for about, observation in current(observations).items():
        if about.agency != agency or observation.value is None:
            continue
        period = parse_period(about.period)
        if period is None:
            raise ValueError(f"observation {observation.observation_id}: period: cannot be read")
        origin = observation.provenance
        source = " · ".join(part for part in (origin.system, origin.document) if part)
        found[about.indicator].append(Value(observation.value, period, observation.as_of, source))
    return dict(found)


def _by_id(observations: Iterable[IndicatorObservation]) -> dict[str, IndicatorObservation]:
    """Each observation once, as it was submitted first."""
    found: dict[str, IndicatorObservation] = {}
    for observation in observations:
        other = found.setdefault(observation.observation_id, observation)
        if not _says_the_same(other, observation):
            raise ValueError(f"observation {observation.observation_id}: one id says two things")
        found[observation.observation_id] = min(
            other, observation, key=lambda one: (one.observed_at, one.submitted_by)
        )
    return found


def _place(observation: IndicatorObservation) -> tuple[bool, datetime, str]:
    return observation.corrects is not None, observation.observed_at, observation.observation_id
