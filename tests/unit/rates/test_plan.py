"""The plan: what it promises, what it refuses by code and field, and how its goals stand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rates import catalogue
from monitoring.rates.periods import Period, parse_period
from monitoring.rates.plan import (
    Plan,
    PlanError,
    Row,
    Standing,
    Value,
    packaged,
    read,
    scoreboard,
)

SMALL = """
vi = "kế hoạch"
en = "plan"
[indicators.files]
vi = "hồ sơ công việc"
en = "work files"
unit = "percent"
effective_to = 2025-06-30
[indicators.connected]
vi = "kết nối"
en = "connected"
unit = "yes_no"
periods = ["year"]
[[goals]]
code = "a"
number = 1
vi = "chỉ tiêu a"
en = "goal a"
level = "district"
value = 80
by = 2025
indicator = "files"
effective_from = 2020-06-03
effective_to = 2025-06-30
source = "KH"
certainty = "reported"
[[goals]]
code = "b"
number = 2
vi = "chỉ tiêu b"
en = "goal b"
value = 1
by = 2021
indicator = "connected"
source = "KH"
certainty = "unverified"
[[goals]]
code = "c"
number = 3
vi = "chỉ tiêu c"
en = "goal c"
value = 50
by = 2021
rate = "fullCount/authorityCount"
needs = "service_levels"
source = "KH"
certainty = "unverified"
"""
"""A goal that ends, one that is yes or no, and one that is computed."""


def changed(*changes: tuple[str, str]) -> str:
    """The small plan with texts replaced where they stand first."""
    text = SMALL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def small(*changes: tuple[str, str]) -> Plan:
    return read(changed(*changes), "small", catalogue.packaged())


# --- what it promises --------------------------------------------------------------------------------


def test_the_packaged_plan_has_the_sixteen_goals_with_their_values() -> None:
    found = {(goal.number, goal.level): (int(goal.value), goal.by) for goal in packaged().goals}
    assert found == {
        (1, None): (80, 2025),
        (2, "province"): (90, 2025),
        (3, "district"): (80, 2025),
        (4, "commune"): (60, 2025),
        (5, None): (100, 2025),
        (6, None): (50, 2025),
        (7, None): (80, 2025),
        (8, None): (100, 2021),
        (9, "province"): (80, 2021),
        (9, "district"): (60, 2021),
        (9, "commune"): (30, 2021),
        (10, None): (100, 2021),
        (11, None): (100, 2021),
        (12, None): (100, 2021),
        (13, None): (30, 2021),
        (14, None): (50, 2021),
        (15, None): (100, 2021),
        (16, None): (1, 2021),
    }


def test_what_is_computed_from_dossiers_and_what_waits_for_the_levels_of_services() -> None:
    computed = {goal.number: (goal.rate, goal.needs) for goal in packaged().goals if goal.rate}
    assert computed == {
        1: ("full_process_services", "service_levels"),
        13: ("channelOnlineSum/channelTotalSum", None),
        14: ("fullCount/authorityCount", "service_levels"),
    }


def test_the_district_level_ends_and_nothing_else() -> None:
    ended = {goal.code: goal.effective_to for goal in packaged().goals if goal.effective_to}
    assert ended == dict.fromkeys(
        ("work_files_district_2025", "work_files_district_2021"), date(2025, 6, 30)
    )
    assert all(goal.level == "district" for goal in packaged().goals if goal.code in ended)


def test_work_files_of_both_plans_are_one_indicator_for_each_level() -> None:
    for level in ("province", "district", "commune"):
        measures = {goal.measure for goal in packaged().goals if goal.level == level}
        assert measures == {f"work_files_online_{level}"}


def test_only_the_connection_with_the_portal_is_yes_or_no() -> None:
    plan = packaged()
    assert [goal.number for goal in plan.goals if plan.unit(goal) == "yes_no"] == [16]


def test_no_goal_is_called_confirmed_while_the_plan_was_not_seen() -> None:
    assert {goal.certainty for goal in packaged().goals} == {"reported", "unverified"}


# --- what it refuses ---------------------------------------------------------------------------------

MISTAKES = [
    ("no TOML", 'code = "a"', "code = a", "no TOML"),
    ("no field", 'source = "KH"', "", "goal a: source: Field required"),
    ("no code", 'code = "a"', "", "goal number 1: code: Field required"),
    ("a key too many", "number = 1", "number = 1\nweight = 3", "goal a: weight: Extra inputs"),
    ("no such level", '"district"', '"ward"', "goal a: level: Input should be"),
    ("no such unit", '"yes_no"', '"files"', "indicator connected: unit: Input should be"),
    ("no such period", '"year"', '"week"', "indicator connected: periods.0: Input should be"),
    ("no periods", '["year"]', "[]", "indicator connected: periods: Tuple should have at least 1"),
    ("no such certainty", '"reported"', '"sure"', "goal a: certainty: Input should be"),
    ("no such import", '"service_levels"', '"luck"', "goal c: needs: Input should be"),
    ("number 0", "number = 1", "number = 0", "goal a: number: Input should be"),
    ("nothing to reach", "value = 80", "value = 0", "goal a: value: Input should be"),
    ("above all", "value = 80", "value = 100.01", "goal a: value: 100.01 is above 100"),
    ("more than yes", "value = 1\n", "value = 2\n", "goal b: value: 2 is above 1"),
    ("a year long ago", "by = 2025", "by = 1999", "goal a: by: Input should be"),
    ("unmeasured", 'indicator = "files"\n', "", "goal a: give either rate or indicator"),
    (
        "measured twice",
        'indicator = "files"',
        'indicator = "files"\nrate = "on_time"',
        "goal a: give either rate or indicator",
    ),
    (
        "no import for an indicator",
        'indicator = "files"',
        'indicator = "files"\nneeds = "service_levels"',
        "goal a: needs is given without a rate",
    ),
    (
        "no such indicator",
        'indicator = "connected"',
        'indicator = "x"',
        "goal b: indicator: 'x' is not among the indicators",
    ),
    (
        "idle indicator",
        'indicator = "connected"',
        'rate = "on_time"',
        "indicator connected: no goal is measured by it, and no rate takes it",
    ),
    (
        "input of no rate",
        'unit = "percent"',
        'unit = "percent"\nrate = "DOSSIER_SYNK"',
        "indicator files: rate: unknown rate 'DOSSIER_SYNK'; near: DOSSIER_SYNC",
    ),
    ("no such rate", '"fullCount/authorityCount"', '"fullCount"', "goal c: rate: unknown rate"),
    (
        "no share",
        '"fullCount/authorityCount"',
        '"online_payment"',
        "goal c: rate: 'online_payment' is no share: it has several terms",
    ),
    (
        "ends before it begins",
        "effective_from = 2020-06-03",
        "effective_from = 2025-07-01",
        "goal a: effective_to lies before effective_from",
    ),
    (
        "outlives its indicator",
        "effective_to = 2025-06-30\nsource",
        "effective_to = 2025-07-01\nsource",
        "goal a: effective_to: its indicator ends on 2025-06-30",
    ),
    (
        "never ends, unlike its indicator",
        "effective_to = 2025-06-30\nsource",
        "source",
        "goal a: effective_to: its indicator ends on 2025-06-30",
    ),
    ("a code twice", 'code = "b"', 'code = "a"', "goal a: code: is given twice"),
    (
        "a number twice",
        "number = 3",
        "number = 2",
        "goal number 2: level: the whole province is given twice",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "told"), [one[1:] for one in MISTAKES], ids=[one[0] for one in MISTAKES]
)
def test_a_mistake_is_named_with_code_and_field(old: str, new: str, told: str) -> None:
    with pytest.raises(PlanError) as caught:
        small((old, new))
    assert str(caught.value).startswith("small: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value = 80", "value = 100"),
        ("value = 80", "value = 0.01"),
        ("effective_from = 2020-06-03", "effective_from = 2025-06-30"),
        ("effective_to = 2025-06-30\nsource", "effective_to = 2025-06-29\nsource"),
        ("number = 3", 'number = 2\nlevel = "commune"'),
    ],
    ids=["all of it", "a little", "a single day", "ends before its indicator", "another level"],
)
def test_what_is_just_possible_is_taken(old: str, new: str) -> None:
    assert len(small((old, new)).goals) == 3


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        small(("by = 2025", "by = 1999"), ("number = 2", "number = 0"))
    assert "goal a: by" in str(caught.value)
    assert "goal b: number" in str(caught.value)


# --- how goals stand ---------------------------------------------------------------------------------

LAST_DAY = date(2025, 6, 30)


def value(number: str, period: str, as_of: date | None = None, source: str = "s") -> Value:
    found = parse_period(period)
    assert found is not None
    return Value(Decimal(number), found, as_of or found.last, source)


def row(code: str, values: list[Value], on: date) -> Row:
    """The row of a goal of the small plan, of which these figures are known."""
    plan = small()
    (goal,) = (one for one in plan.goals if one.code == code)
    (found,) = (one for one in scoreboard(plan, {goal.measure: values}, on) if one.goal is goal)
    return found


def test_without_figures_every_goal_is_there_and_none_has_an_invented_one() -> None:
    rows = scoreboard(packaged(), {}, date(2026, 1, 1))
    assert [one.goal for one in rows] == list(packaged().goals)
    assert {one.standing for one in rows} == {Standing.UNKNOWN, Standing.CLOSED}
    for one in rows:
        assert one.actual is None
        assert one.history == ()
        assert one.as_dict()["actual"] is None


@pytest.mark.parametrize(
    ("code", "number", "standing"),
    [
        ("a", "79.9999", Standing.NOT_REACHED),
        ("a", "80", Standing.REACHED),
        ("a", "80.0001", Standing.REACHED),
        ("a", "0", Standing.NOT_REACHED),
        ("b", "0", Standing.NOT_REACHED),
        ("b", "1", Standing.REACHED),
    ],
)
def test_a_goal_is_reached_at_its_value(code: str, number: str, standing: Standing) -> None:
    assert row(code, [value(number, "2024")], LAST_DAY).standing is standing


@pytest.mark.parametrize(
    ("on", "standing"),
    [(LAST_DAY, Standing.REACHED), (LAST_DAY + timedelta(days=1), Standing.CLOSED)],
    ids=["last day", "day after"],
)
def test_a_goal_that_has_ended_is_closed_and_keeps_its_history(
    on: date, standing: Standing
) -> None:
    found = row("a", [value("90", "2024"), value("85", "2023")], on)
    assert found.standing is standing
    assert [str(one.period) for one in found.history] == ["2024", "2023"]


def test_a_goal_is_listed_from_its_first_day_on() -> None:
    def codes(on: date) -> list[str]:
        return [one.goal.code for one in scoreboard(small(), {}, on)]

    assert codes(date(2020, 6, 2)) == ["b", "c"]
    assert codes(date(2020, 6, 3)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("values", "on", "actual"),
    [
        pytest.param(
            [value("1", "2024-11"), value("2", "2024-12")], LAST_DAY, "2", id="the latest period"
        ),
        pytest.param(
            [value("1", "2024", date(2025, 3, 1)), value("2", "2025-01")],
            LAST_DAY,
            "2",
            id="the latest period, not the latest report",
        ),
        pytest.param(
            [value("1", "2024-12"), value("2", "2024"), value("3", "2024-Q4")],
            LAST_DAY,
            "2",
            id="the longest of those that end together",
        ),
        pytest.param(
            [value("1", "2024", date(2025, 1, 5)), value("2", "2024", date(2025, 1, 6))],
            LAST_DAY,
            "2",
            id="what was known later of one period",
        ),
        pytest.param([value("1", "2024-12")], date(2024, 12, 31), "1", id="known on that day"),
        pytest.param([value("1", "2024-12")], date(2024, 12, 30), None, id="known a day later"),
        pytest.param(
            [value("1", "2025-06"), value("2", "2025-07")],
            date(2026, 1, 1),
            "1",
            id="not for after the end",
        ),
        pytest.param(
            [value("1", "2025-06"), value("2", "2025")],
            date(2026, 1, 1),
            "1",
            id="not for a period that the end lies in",
        ),
    ],
)
def test_the_actual_figure_is_that_of_the_latest_period(
    values: list[Value], on: date, actual: str | None
) -> None:
    found = row("a", values, on).actual
    assert (None if found is None else str(found.value)) == actual


def test_goals_of_one_indicator_share_its_figures() -> None:
    known = {"work_files_online_commune": [value("45", "2025")]}
    rows = {one.goal.code: one for one in scoreboard(packaged(), known, date(2026, 1, 1))}
    assert rows["work_files_commune_2021"].standing is Standing.REACHED
    assert rows["work_files_commune_2025"].standing is Standing.NOT_REACHED


def test_figures_that_no_goal_is_measured_by_are_refused() -> None:
    with pytest.raises(ValueError, match="measure no goal: fles, on_time"):
        scoreboard(small(), {"fles": [], "on_time": [], "files": []}, LAST_DAY)


def test_a_row_as_json_has_the_goal_the_figure_and_where_both_are_from() -> None:
    told = row(
        "a", [value("68.5", "2024", date(2025, 1, 5), "eoffice · 1/BC-VP")], LAST_DAY
    ).as_dict()
    assert (told["code"], told["value"], told["unit"], told["by"]) == ("a", 80, "percent", 2025)
    assert (told["source"], told["certainty"]) == ("KH", "reported")
    assert told["standing"] == "not_reached"
    assert told["actual"] == {
        "value": Decimal("68.5"),
        "period": "2024",
        "as_of": date(2025, 1, 5),
        "source": "eoffice · 1/BC-VP",
    }
    assert told["history"] == [told["actual"]]


PERIODS = st.sampled_from(["2023", "2024", "2024-H2", "2024-Q4", "2024-12", "2025-H1", "2025-07"])
VALUES = st.lists(
    st.builds(
        value,
        st.integers(0, 100).map(str),
        PERIODS,
        st.none() | st.dates(date(2023, 1, 1), date(2026, 1, 1)),
        st.sampled_from(["s", "t"]),
    ),
    max_size=6,
)


@given(VALUES, st.dates(date(2023, 1, 1), date(2026, 1, 1)), st.randoms())
def test_the_order_of_the_figures_changes_nothing(
    values: list[Value], on: date, random: Random
) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert row("a", shuffled, on) == row("a", values, on)


@given(VALUES, st.dates(date(2023, 1, 1), date(2026, 1, 1)))
def test_nothing_counts_that_was_not_known_yet_or_concerns_a_time_after_the_end(
    values: list[Value], on: date
) -> None:
    history = row("a", values, on).history
    assert all(one.as_of <= on and one.period.last <= LAST_DAY for one in history)
    assert len(history) == sum(one.as_of <= on and one.period.last <= LAST_DAY for one in values)


def test_a_measure_is_the_rate_or_the_indicator() -> None:
    measures = [goal.measure for goal in small().goals]
    assert measures == ["files", "connected", "fullCount/authorityCount"]


def test_an_indicator_takes_its_kinds_of_period_up_to_its_end() -> None:
    files, connected = small().indicators["files"], small().indicators["connected"]

    def period(text: str) -> Period:
        found = parse_period(text)
        assert found is not None
        return found

    assert files.takes(period("2025-06"))
    assert not files.takes(period("2025-07"))
    assert files.takes(period("2025-H1"))
    assert not files.takes(period("2025"))
    assert connected.takes(period("2026"))
    assert not connected.takes(period("2026-12"))
