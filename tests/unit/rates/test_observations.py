"""Observations: which are taken, why the others are not, and which figure holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rates.observations import (
    Refusal,
    Refused,
    current,
    histories,
    refused,
    subject,
    values_of,
)
from monitoring.rates.periods import KIND_WORDS, PeriodKind, parse_period
from monitoring.rates.plan import HIGHEST, UNIT_WORDS, packaged
from schemas.records import IndicatorObservation
from tests.unit.rates.observed import AGENCIES, CORRECTION, GOOD, NOW, PLAN, but

SECOND = timedelta(seconds=1)
YES = but(indicator="connected", unit="yes_no", value=Decimal(1), period="2025")


def faults(
    observation: IndicatorObservation,
    known: Sequence[IndicatorObservation] = (),
    now: datetime = NOW,
) -> tuple[Refused, ...]:
    return refused(observation, plan=PLAN, agencies=AGENCIES, known=known, now=now)


def reasons(
    observation: IndicatorObservation,
    known: Sequence[IndicatorObservation] = (),
    now: datetime = NOW,
) -> list[tuple[Refusal, str]]:
    return [(fault.reason, fault.field) for fault in faults(observation, known, now)]


# --- which are taken ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="as it is"),
        pytest.param({"value": Decimal(0)}, id="nothing"),
        pytest.param({"value": Decimal(100)}, id="all"),
        pytest.param({"value": Decimal("99.9999")}, id="four decimals"),
        pytest.param({"document": None}, id="no document"),
        pytest.param({"document": "1/QĐ-UBND"}, id="short number"),
        pytest.param({"document": "123456A/2026/NĐ-CP"}, id="long number"),
        pytest.param({"agency": "H44.07"}, id="another agency"),
        pytest.param({"period": "2026-Q2"}, id="a quarter"),
        pytest.param({"period": "2026-H1"}, id="a half year"),
        pytest.param({"period": "2025"}, id="a year"),
        pytest.param({"as_of": date(2026, 9, 1)}, id="true today"),
        pytest.param({"observation_id": "x" * 64}, id="longest id"),
        pytest.param({"observation_id": "a.b_c:d/e-1"}, id="every sign in an id"),
        pytest.param({"system": "x" * 64}, id="longest system"),
        pytest.param({"observed_at": NOW + timedelta(minutes=5)}, id="a fast clock"),
        pytest.param({"observed_at": datetime(2026, 8, 1, tzinfo=UTC)}, id="submitted long ago"),
    ],
)
def test_a_sound_observation_is_taken(changes: dict[str, Any]) -> None:
    assert faults(but(**changes)) == ()


def test_yes_and_no_are_taken_for_what_is_yes_or_no() -> None:
    assert faults(YES) == ()
    assert faults(but(YES, value=Decimal(0))) == ()


REFUSED = [
    ("id empty", {"observation_id": ""}, Refusal.ID_INVALID, "observation_id"),
    ("id too long", {"observation_id": "x" * 65}, Refusal.ID_INVALID, "observation_id"),
    ("id with a name", {"observation_id": "Bưởi"}, Refusal.ID_INVALID, "observation_id"),
    ("id begins with a sign", {"observation_id": "-1"}, Refusal.ID_INVALID, "observation_id"),
    ("no such agency", {"agency": "H44.08"}, Refusal.UNKNOWN_AGENCY, "agency"),
    ("no period", {"period": "08/2026"}, Refusal.PERIOD_INVALID, "period"),
    ("above all", {"value": Decimal("100.0001")}, Refusal.VALUE_OUT_OF_RANGE, "value"),
    ("below nothing", {"value": Decimal("-0.0001")}, Refusal.VALUE_OUT_OF_RANGE, "value"),
    ("not a number", {"value": Decimal("NaN")}, Refusal.VALUE_OUT_OF_RANGE, "value"),
    ("endless", {"value": Decimal("Infinity")}, Refusal.VALUE_OUT_OF_RANGE, "value"),
    ("a fifth decimal", {"value": Decimal("1.00001")}, Refusal.VALUE_TOO_FINE, "value"),
    ("a fifth decimal, zero", {"value": Decimal("1.00000")}, Refusal.VALUE_TOO_FINE, "value"),
    ("no value", {"value": None}, Refusal.VALUE_MISSING, "value"),
    ("another unit", {"unit": "yes_no"}, Refusal.WRONG_UNIT, "unit"),
    ("unit by its sign", {"unit": "%"}, Refusal.WRONG_UNIT, "unit"),
    ("a month too early", {"as_of": date(2026, 8, 30)}, Refusal.AS_OF_BEFORE_PERIOD_END, "as_of"),
    ("true tomorrow", {"as_of": date(2026, 9, 2)}, Refusal.AS_OF_IN_FUTURE, "as_of"),
    ("system with a name", {"system": "Bưởi"}, Refusal.PROVENANCE_INVALID, "system"),
    ("system too long", {"system": "x" * 65}, Refusal.PROVENANCE_INVALID, "system"),
    ("system empty", {"system": ""}, Refusal.PROVENANCE_INVALID, "system"),
    ("document empty", {"document": ""}, Refusal.PROVENANCE_INVALID, "document"),
    ("document in words", {"document": "báo cáo tháng 8"}, Refusal.PROVENANCE_INVALID, "document"),
    ("document with a person", {"document": "1/BC Bưởi"}, Refusal.PROVENANCE_INVALID, "document"),
    ("somebody's name", {"submitted_by": "Trần Bưởi"}, Refusal.SUBMITTER_INVALID, "submitted_by"),
    (
        "a clock too fast",
        {"observed_at": NOW + timedelta(minutes=5, microseconds=1)},
        Refusal.OBSERVED_IN_FUTURE,
        "observed_at",
    ),
]


@pytest.mark.parametrize(
    ("changes", "reason", "field"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_an_unsound_observation_is_refused_with_reason_and_field(
    changes: dict[str, Any], reason: Refusal, field: str
) -> None:
    assert reasons(but(**changes)) == [(reason, field)]


def test_unit_and_periods_are_told_in_vietnamese() -> None:
    (unit,) = faults(but(unit="yes_no"))
    assert "tính bằng phần trăm: ghi percent" in unit.words.vi
    (period,) = faults(but(YES, period="2025-12"))
    assert "chỉ có kỳ năm" in period.words.vi
    assert set(UNIT_WORDS) == set(HIGHEST)
    assert set(KIND_WORDS) == set(PeriodKind)


def test_an_unknown_indicator_is_refused_once_and_brings_up_those_that_look_like_it() -> None:
    (fault,) = faults(but(indicator="file", unit="pieces", value=Decimal(4000)))
    assert (fault.reason, fault.field) == (Refusal.UNKNOWN_INDICATOR, "indicator")
    assert fault.words.vi.endswith("gần giống: files")
    assert fault.words.en.endswith("near: files")


@pytest.mark.parametrize("value", ["0.5", "2", "-1", "NaN"])
def test_there_is_nothing_between_yes_and_no(value: str) -> None:
    assert reasons(but(YES, value=Decimal(value))) == [(Refusal.VALUE_OUT_OF_RANGE, "value")]


@pytest.mark.parametrize(
    ("observation", "taken"),
    [
        pytest.param(but(YES, period="2025"), True, id="its kind"),
        pytest.param(but(YES, period="2025-12"), False, id="another kind"),
        pytest.param(but(period="2026-09", as_of=date(2026, 9, 30)), True, id="its last month"),
        pytest.param(but(period="2026-10", as_of=date(2026, 10, 31)), False, id="after its end"),
        pytest.param(but(period="2026", as_of=date(2026, 12, 31)), False, id="across its end"),
        pytest.param(but(period="2026-Q3", as_of=date(2026, 9, 30)), True, id="its last quarter"),
    ],
)
def test_a_period_has_to_be_one_of_the_indicators(
    observation: IndicatorObservation, taken: bool
) -> None:
    found = reasons(observation, now=datetime(2027, 2, 1, tzinfo=UTC))
    assert found == ([] if taken else [(Refusal.PERIOD_NOT_OF_INDICATOR, "period")])


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        (datetime(2026, 8, 31, 16, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 8, 31, 17, 0, tzinfo=UTC), True),
    ],
    ids=["before midnight in Viet Nam", "at midnight in Viet Nam"],
)
def test_a_period_has_ended_when_its_last_day_has_in_viet_nam(now: datetime, ended: bool) -> None:
    found = reasons(but(observed_at=now), now=now)
    assert found == ([] if ended else [(Refusal.PERIOD_NOT_ENDED, "period")])


def test_all_faults_are_told_at_once() -> None:
    broken = but(
        observation_id="",
        agency="",
        period="",
        value=Decimal(101),
        system="",
        document="",
        submitted_by="",
        corrects="nothing",
        observed_at=NOW + timedelta(days=1),
    )
    assert [field for _, field in reasons(broken)] == [
        "observation_id",
        "agency",
        "period",
        "value",
        "system",
        "document",
        "submitted_by",
        "observed_at",
        "corrects",
    ]


# --- corrections -------------------------------------------------------------------------------------

SECOND_CORRECTION = but(
    CORRECTION, observation_id="F-2026-08-2", observed_at=CORRECTION.observed_at + SECOND
)


@pytest.mark.parametrize(
    ("observation", "known"),
    [
        pytest.param(CORRECTION, [GOOD], id="the first"),
        pytest.param(SECOND_CORRECTION, [GOOD, CORRECTION], id="a second, of the same figure"),
        pytest.param(but(CORRECTION, value=None), [GOOD], id="takes the figure back"),
        pytest.param(but(CORRECTION, value=GOOD.value), [GOOD], id="changes nothing"),
        pytest.param(
            but(CORRECTION, observed_at=GOOD.observed_at - SECOND), [GOOD], id="a slow clock"
        ),
        pytest.param(
            but(CORRECTION, as_of=date(2026, 9, 1), system="other"), [GOOD], id="of a later day"
        ),
    ],
)
def test_a_correction_is_taken(
    observation: IndicatorObservation, known: list[IndicatorObservation]
) -> None:
    assert faults(observation, known) == ()


@pytest.mark.parametrize(
    ("observation", "known", "reason", "field"),
    [
        pytest.param(CORRECTION, [], Refusal.CORRECTS_UNKNOWN, "corrects", id="of nothing"),
        pytest.param(
            but(CORRECTION, corrects=CORRECTION.observation_id),
            [GOOD],
            Refusal.CORRECTS_UNKNOWN,
            "corrects",
            id="of itself",
        ),
        pytest.param(
            but(SECOND_CORRECTION, corrects=CORRECTION.observation_id),
            [GOOD, CORRECTION],
            Refusal.CORRECTS_CORRECTION,
            "corrects",
            id="of a correction",
        ),
        pytest.param(
            but(CORRECTION, agency="H44.07"),
            [GOOD],
            Refusal.CORRECTS_ANOTHER,
            "corrects",
            id="of another agency",
        ),
        pytest.param(
            but(CORRECTION, period="2026-07"),
            [GOOD],
            Refusal.CORRECTS_ANOTHER,
            "corrects",
            id="of another period",
        ),
        pytest.param(
            but(YES, observation_id="C", corrects=GOOD.observation_id),
            [GOOD],
            Refusal.CORRECTS_ANOTHER,
            "corrects",
            id="of another indicator",
        ),
        pytest.param(
            but(SECOND_CORRECTION, observed_at=CORRECTION.observed_at),
            [GOOD, CORRECTION],
            Refusal.NOT_NEWER,
            "observed_at",
            id="as old as another correction",
        ),
        pytest.param(
            but(GOOD, observation_id="again"),
            [GOOD],
            Refusal.ALREADY_OBSERVED,
            "period",
            id="said a second time without a word of correction",
        ),
        pytest.param(
            but(GOOD, value=Decimal(70)),
            [GOOD],
            Refusal.ID_REUSED,
            "observation_id",
            id="another figure under the same id",
        ),
    ],
)
def test_what_would_break_a_story_is_refused(
    observation: IndicatorObservation,
    known: list[IndicatorObservation],
    reason: Refusal,
    field: str,
) -> None:
    assert reasons(observation, known) == [(reason, field)]


def test_a_correction_of_a_correction_is_told_which_one_to_name() -> None:
    wrong = but(SECOND_CORRECTION, corrects=CORRECTION.observation_id)
    (fault,) = faults(wrong, [GOOD, CORRECTION])
    assert fault.words.en.endswith(f"name the first observation: {GOOD.observation_id}")


@pytest.mark.parametrize(
    "again",
    [
        GOOD,
        but(GOOD, observed_at=NOW + timedelta(days=40)),
        but(GOOD, submitted_by="import"),
        but(GOOD, value=Decimal("68.5000")),
    ],
    ids=["whole", "later", "by another", "with more zeros"],
)
def test_what_arrives_again_and_says_the_same_is_no_fault(again: IndicatorObservation) -> None:
    assert faults(again, [GOOD, CORRECTION]) == ()


def test_every_fault_has_words_in_both_languages_and_repeats_nothing_that_was_sent() -> None:
    secret = "Trần Thị Bưởi"
    known = [GOOD, CORRECTION, but(YES, observation_id="Y")]
    sent = [but(**changes) for _, changes, *_ in REFUSED if changes.get("value") is not None] + [
        but(
            observation_id=secret,
            indicator=secret,
            unit=secret,
            agency=secret,
            period=secret,
            system=secret,
            document=secret,
            corrects=secret,
            submitted_by=secret,
        ),
        but(unit=secret, value=None),
        but(YES, value=Decimal(3)),
    ]
    found = [fault for observation in sent for fault in faults(observation, known)]
    assert len({fault.reason for fault in found}) > 10
    for fault in found:
        assert fault.words.vi
        assert fault.words.en
        assert fault.words.vi != fault.words.en
        assert "Bưởi" not in fault.words.vi + fault.words.en


# --- which figure holds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observations", "story"),
    [
        pytest.param([GOOD], ["F-2026-08"], id="alone"),
        pytest.param([CORRECTION, GOOD], ["F-2026-08", "F-2026-08-1"], id="corrected"),
        pytest.param(
            [SECOND_CORRECTION, GOOD, CORRECTION],
            ["F-2026-08", "F-2026-08-1", "F-2026-08-2"],
            id="corrected twice",
        ),
        pytest.param(
            [GOOD, but(CORRECTION, observed_at=NOW - SECOND)],
            ["F-2026-08", "F-2026-08-1"],
            id="corrected by a slow clock",
        ),
        pytest.param(
            [GOOD, but(SECOND_CORRECTION, corrects="F-2026-08-1"), CORRECTION],
            ["F-2026-08", "F-2026-08-1"],
            id="a correction of a correction is left out",
        ),
        pytest.param(
            [GOOD, but(CORRECTION, corrects="nobody")], ["F-2026-08"], id="and one of nothing"
        ),
        pytest.param([GOOD, but(GOOD, submitted_by="a")], ["F-2026-08"], id="there twice"),
    ],
)
def test_a_story_begins_with_the_first_observation_and_ends_with_what_holds(
    observations: list[IndicatorObservation], story: list[str]
) -> None:
    (found,) = histories(observations).values()
    assert [one.observation_id for one in found] == story
    assert current(observations)[subject(GOOD)].observation_id == story[-1]


def test_a_correction_of_another_figure_is_left_out_of_both() -> None:
    stray = but(CORRECTION, period="2026-07")
    assert current([GOOD, stray]) == {subject(GOOD): GOOD}


def test_an_id_that_says_two_things_is_no_story() -> None:
    with pytest.raises(ValueError, match="F-2026-08: one id says two things"):
        current([GOOD, but(GOOD, value=Decimal(1))])


def test_figures_have_stories_of_their_own() -> None:
    other = but(GOOD, observation_id="O", agency="H44.07")
    assert current([GOOD, other, CORRECTION]) == {
        subject(GOOD): CORRECTION,
        subject(other): other,
    }


@st.composite
def submissions(draw: st.DrawFn) -> list[IndicatorObservation]:
    """First observations and corrections of three figures, some of them of nothing or of each other."""
    count = draw(st.integers(0, 8))
    ids = [f"o{number}" for number in range(count)]
    return [
        but(
            observation_id=one,
            period=draw(st.sampled_from(["2026-06", "2026-07", "2026-08"])),
            value=draw(st.none() | st.integers(0, 3).map(Decimal)),
            corrects=draw(st.none() | st.sampled_from([*ids, "nobody"])),
            observed_at=NOW + draw(st.integers(0, 3)) * SECOND,
        )
        for one in ids
    ]


@given(submissions(), st.data())
def test_neither_order_nor_repetition_changes_what_holds(
    observations: list[IndicatorObservation], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(observations)) if observations else st.just([]))
    later = [but(one, observed_at=one.observed_at + SECOND, submitted_by="z") for one in again]
    shuffled = [*observations, *again, *later]
    data.draw(st.randoms(use_true_random=False)).shuffle(shuffled)
    assert histories(shuffled) == histories(observations)
    assert current(shuffled) == current(observations)


@given(submissions(), st.randoms(use_true_random=False))
def test_what_was_taken_last_of_a_figure_is_what_holds(
    observations: list[IndicatorObservation], random: Random
) -> None:
    """Whatever arrives, in whatever order: after being taken, an observation holds."""
    random.shuffle(observations)
    known: list[IndicatorObservation] = []
    for observation in observations:
        if not faults(observation, known):
            known.append(observation)
            assert current(known)[subject(observation)] == observation


# --- figures for the scoreboard ----------------------------------------------------------------------


def test_an_agencys_figures_name_their_source_and_leave_out_what_was_taken_back() -> None:
    july = but(observation_id="J", period="2026-07", document=None)
    taken_back = but(CORRECTION, value=None)
    other = but(observation_id="O", agency="H44.07")
    found = values_of([GOOD, july, taken_back, other], "H44")
    assert list(found) == ["files"]
    (value,) = found["files"]
    assert (value.value, value.period, value.as_of) == (
        Decimal("68.5"),
        parse_period("2026-07"),
        date(2026, 8, 31),
    )
    assert value.source == "eoffice"
    (other_value,) = values_of([other], "H44.07")["files"]
    assert other_value.source == "eoffice · 12/BC-VP"


def test_a_period_that_cannot_be_read_is_said_by_id() -> None:
    with pytest.raises(ValueError, match="F-2026-08: period"):
        values_of([but(period="tháng 8")], "H44")


@pytest.mark.parametrize("code", sorted(packaged().indicators))
def test_every_indicator_of_the_plan_can_be_observed(code: str) -> None:
    observation = but(
        indicator=code, unit=packaged().indicators[code].unit, value=Decimal(1), period="2024"
    )
    assert not refused(observation, plan=packaged(), agencies=AGENCIES, known=(), now=NOW)
