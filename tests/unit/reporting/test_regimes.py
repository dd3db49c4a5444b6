"""What is in force of all that was received, and what is wrong with the rest."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reports.kinds import PacketKind
from schemas.reports.packets import (
    Content,
    Form,
    OutlineForm,
    Periods,
    PeriodType,
    Regime,
    RegimeForm,
    ReportState,
    ReportStatus,
)
from schemas.reports.regimes import Catalogue, Fault, RegimeFault, in_force_on, judge, key_of
from tests.unit.reporting.regimes_received import (
    BY_AGENCY,
    FORM,
    INDICATORS,
    KPI_GROUPS,
    KPI_SET,
    OUTLINE,
    PERIODS,
    REGIME,
    WHOLE,
    came,
    month,
)

LATER = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)


def faults_of(catalogue: Catalogue, content: Content) -> list[tuple[str, str]]:
    (found,) = [one for one in catalogue.judged if one.received.content == content]
    return [(one.fault.value, one.about) for one in found.faults]


def used(catalogue: Catalogue) -> list[Content]:
    return [one.received.content for one in catalogue.judged if one.in_force]


def test_a_whole_regime_is_in_force_with_its_forms_and_periods() -> None:
    found = judge(came(*WHOLE))
    assert used(found) == list(WHOLE)
    assert found.regimes == {"CDS": REGIME}
    assert found.asked("CDS") == (FORM, OUTLINE)
    assert found.periods_of("CDS") == PERIODS.periods


@given(st.permutations(range(len(WHOLE))))
def test_the_order_in_which_things_come_does_not_matter(order: list[int]) -> None:
    found = judge(came(*(WHOLE[place] for place in order)))
    assert found.regimes == {"CDS": REGIME}
    assert all(one.in_force and not one.faults for one in found.judged)


def test_nothing_received_is_nothing_in_force() -> None:
    assert judge([]) == Catalogue()


@pytest.mark.parametrize(
    ("contents", "faulty", "expected"),
    [
        ((FORM, INDICATORS), FORM, ("unknown_regime", "CDS")),
        ((replace(OUTLINE, regime="XX"),), replace(OUTLINE, regime="XX"), ("unknown_regime", "XX")),
        ((replace(PERIODS, regime="XX"),), replace(PERIODS, regime="XX"), ("unknown_regime", "XX")),
        ((INDICATORS, FORM, REGIME), REGIME, ("unknown_form", "CDS.DC")),
        (
            (INDICATORS, replace(FORM, version="2"), OUTLINE, REGIME),
            REGIME,
            ("unknown_form_version", "CDS.01 1"),
        ),
        ((FORM, OUTLINE, REGIME), FORM, ("unknown_indicator", "CT1")),
        ((replace(REGIME, forms=()),), replace(REGIME, forms=()), ("no_forms", "")),
        (
            (replace(REGIME, valid_until=date(2025, 1, 1)),),
            replace(REGIME, valid_until=date(2025, 1, 1)),
            ("days_reversed", ""),
        ),
        ((KPI_SET,), KPI_SET, ("unknown_group", "G")),
        ((replace(REGIME, code=" "),), replace(REGIME, code=" "), ("code_missing", "")),
    ],
)
def test_what_is_not_sound_is_listed_and_not_used(
    contents: tuple[Content, ...], faulty: Content, expected: tuple[str, str]
) -> None:
    found = judge(came(*contents))
    assert expected in faults_of(found, faulty)
    assert faulty not in used(found)


def test_a_form_of_another_regime_cannot_be_asked_for() -> None:
    other = replace(
        REGIME,
        code="KHAC",
        forms=(RegimeForm(code="CDS.01", version="1", kind=PacketKind.FIGURES),),
    )
    found = judge(came(*WHOLE, other))
    assert faults_of(found, other) == [("form_of_another_regime", "CDS.01")]
    assert set(found.regimes) == {"CDS"}
    assert set(found.legal) == {"CDS", "KHAC"}


def test_the_indicators_that_come_later_bring_the_form_and_its_regime_into_force() -> None:
    before = came(FORM, OUTLINE, PERIODS, REGIME)
    assert judge(before).regimes == {}
    assert judge([*before, *came(INDICATORS, at=LATER)]).regimes == {"CDS": REGIME}


def test_a_faulty_newer_version_leaves_the_one_before_in_force() -> None:
    newer = replace(
        REGIME, name="Mới", forms=(RegimeForm(code="CDS.09", version="1", kind=PacketKind.FIGURES),)
    )
    found = judge([*came(*WHOLE), *came(newer, at=LATER)])
    assert found.regimes == {"CDS": REGIME}
    assert found.legal == {"CDS": newer}
    assert faults_of(found, newer) == [("unknown_form", "CDS.09")]


def test_the_newest_sound_version_is_in_force_and_every_one_is_kept() -> None:
    newer = replace(REGIME, name="Mới")
    back = came(replace(REGIME), at=datetime(2026, 10, 1, tzinfo=UTC))
    found = judge([*came(*WHOLE), *came(newer, at=LATER)])
    assert found.regimes == {"CDS": newer}
    again = judge([*came(*WHOLE), *came(newer, at=LATER), *back])
    assert again.regimes == {"CDS": REGIME}
    assert len(again.judged) == len(WHOLE) + 2
    assert [one.in_force for one in again.judged][-2:] == [False, True]


def test_two_versions_of_a_form_stand_side_by_side() -> None:
    second = replace(FORM, version="2")
    found = judge(came(*WHOLE, second))
    assert set(found.forms) == {("CDS.01", "1"), ("CDS.01", "2")}


def test_a_regime_may_ask_for_kpis() -> None:
    regime = replace(
        REGIME, forms=(RegimeForm(code="KPI", version="1", kind=PacketKind.KPI_VALUES),)
    )
    found = judge(came(KPI_GROUPS, KPI_SET, regime))
    assert found.asked("CDS") == (KPI_SET,)


# --- periods -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ((month(9), month(10, window_from=date(2026, 9, 14))), ("overlapping_periods", "2026-10")),
        ((month(9), month(9)), ("period_twice", "2026-09")),
        ((month(9, window_to=date(2026, 8, 1)),), ("days_reversed", "2026-09")),
        ((month(9, due_on=date(2026, 9, 14)),), ("due_before_cut_off", "2026-09")),
        ((month(9, code=""),), ("code_missing", "")),
        (
            (
                month(
                    9,
                    window_from=date(2026, 1, 1),
                    window_to=date(2026, 12, 1),
                    due_on=date(2026, 12, 9),
                ),
                month(10),
                month(11),
            ),
            ("overlapping_periods", "2026-11"),
        ),
    ],
)
def test_periods_that_cannot_be_are_refused_as_a_whole(
    periods: tuple[object, ...], expected: tuple[str, str]
) -> None:
    coming = Periods(regime=None, periods=periods)  # type: ignore[arg-type]
    found = judge(came(coming))
    assert expected in faults_of(found, coming)
    assert found.periods == {}


def test_a_month_within_a_quarter_is_no_overlap() -> None:
    quarter = month(9, code="2026-Q3", type=PeriodType.QUARTER, window_from=date(2026, 6, 15))
    coming = Periods(regime=None, periods=(month(7), month(8), month(9), quarter))
    assert judge(came(coming)).periods_of("anything") == (month(7), quarter, month(8), month(9))


def test_a_regimes_own_periods_come_before_those_for_all() -> None:
    for_all = Periods(regime=None, periods=(month(9),))
    found = judge(came(*WHOLE, for_all))
    assert found.periods_of("CDS") == PERIODS.periods
    assert found.periods_of("KHAC") == (month(9),)


def test_a_changed_calendar_leaves_a_period_that_has_begun_its_days() -> None:
    """On 1 September the month to 14 September runs; the one after it has not begun."""
    civil = Periods(
        regime="CDS",
        periods=(
            month(
                9,
                window_from=date(2026, 9, 1),
                window_to=date(2026, 9, 30),
                due_on=date(2026, 10, 5),
            ),
            month(
                10,
                window_from=date(2026, 9, 15),
                window_to=date(2026, 10, 31),
                due_on=date(2026, 11, 5),
            ),
        ),
    )
    found = judge([*came(*WHOLE), *came(civil, at=LATER)])
    assert faults_of(found, civil) == [("changed_after_begin", "2026-09")]
    by_code = {one.code: one for one in found.periods_of("CDS")}
    assert by_code["2026-09"] == month(9)
    assert by_code["2026-10"] == civil.periods[1]
    assert "2026-11" not in by_code  # it had not begun, and is named no longer
    assert {"2026-06", "2026-07", "2026-08"} <= set(by_code)


def test_a_changed_calendar_that_overlaps_what_has_begun_is_not_used() -> None:
    """Another code for days that are already counted: nothing of the catalogue is taken."""
    coming = Periods(regime="CDS", periods=(month(9, code="T9", window_to=date(2026, 9, 20)),))
    found = judge([*came(*WHOLE), *came(coming, at=LATER)])
    assert [fault for fault, _ in faults_of(found, coming)] == ["overlapping_periods"]
    assert found.periods_of("CDS") == PERIODS.periods


def test_another_name_of_a_period_is_no_change() -> None:
    coming = Periods(
        regime="CDS", periods=tuple(replace(one, name="khác") for one in PERIODS.periods)
    )
    assert faults_of(judge([*came(*WHOLE), *came(coming, at=LATER)]), coming) == []


# --- odds and ends -----------------------------------------------------------------------------------


def test_a_regime_holds_on_the_days_that_it_says() -> None:
    regime = replace(REGIME, valid_from=date(2026, 3, 1), valid_until=date(2026, 3, 31))
    assert [
        in_force_on(regime, date(2026, m, d)) for m, d in ((2, 28), (3, 1), (3, 31), (4, 1))
    ] == [*(False, True, True, False)]


def test_a_status_defines_nothing() -> None:
    status = ReportStatus(
        about_kind=PacketKind.FIGURES,
        about_regime="CDS",
        about_form="CDS.01",
        about_period="2026-09",
        about_agency="H44",
        about_revision=1,
        state=ReportState.ACCEPTED,
        reasons=(),
        decided_at=LATER,
        decided_by=None,
    )
    with pytest.raises(ValueError, match="ReportStatus"):
        key_of(status)


def test_a_catalogue_is_never_half_done_whatever_came() -> None:
    """Whatever mixture comes: what is in force refers only to what is in force."""
    dice = random.Random(6)
    pieces: list[Content] = [
        *WHOLE,
        BY_AGENCY,
        KPI_SET,
        KPI_GROUPS,
        replace(FORM, version="2"),
        replace(FORM, regime="XX"),
        replace(REGIME, forms=(RegimeForm(code="CDS.02", version="1", kind=PacketKind.FIGURES),)),
        replace(OUTLINE, regime="XX"),
        replace(
            REGIME,
            code="XX",
            forms=(RegimeForm(code="CDS.DC", version="1", kind=PacketKind.OUTLINE),),
        ),
    ]
    for _ in range(300):
        found = judge(came(*dice.choices(pieces, k=dice.randrange(1, 12))))
        for code, regime in found.regimes.items():
            assert len(found.asked(code)) == len(regime.forms)
            for asked in found.asked(code):
                if isinstance(asked, Form | OutlineForm):
                    assert asked.regime == code
        for form in found.forms.values():
            named = {row.indicator for row in form.rows if row.indicator is not None}
            assert named <= found.indicators.keys()
        for one in found.judged:
            assert not (one.in_force and one.blocked)
        assert {
            one.received.content.code
            for one in found.judged
            if isinstance(one.received.content, Regime)
        } == set(found.legal)


def test_a_fault_is_told_once() -> None:
    doubled = replace(
        FORM, rows=tuple(replace(row, indicator="NO", parent=None) for row in FORM.rows)
    )
    found = judge(came(doubled, REGIME))
    (one,) = [one for one in found.judged if one.received.content == doubled]
    assert one.faults == (Fault(RegimeFault.UNKNOWN_INDICATOR, "NO"),)
