"""The portal's figures beside ours: the golden tables against the counts that they are made of, and every verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from monitoring.rates.catalogue import TOTAL, packaged
from monitoring.rates.dossier_counts import TOLD_ELSEWHERE
from monitoring.rates.periods import Period, parse_period
from monitoring.rates.points import Count
from monitoring.rates.portal_comparison import (
    NOT_COUNTED,
    Compared,
    CountPair,
    OurUnit,
    Verdict,
    compare,
    is_within,
    ours,
    scope_of,
)
from monitoring.rates.portal_differences import Wanted, differences
from monitoring.rates.published_csv import parse_table
from monitoring.rates.published_json import parse_answer
from monitoring.rates.published_names import RESULTS
from schemas.dossier.mappings import CodeList
from schemas.ledger import published
from schemas.ledger.published import Counts, GivenFile, PublishedFigure, Version
from tests.unit.rates.answers import (
    CODES,
    LISTS,
    PERIOD,
    PROVINCE,
    TREES,
    answer,
    body,
    results,
)
from tests.unit.rates.counted import Hall, Story, hall, mapping, span_of
from tests.unit.rates.published import path

TABLE_OF = {"dvc-progress-tree": "progress", "formality-online-payment-tree": "payment"}
SEEN = datetime(2026, 9, 26, tzinfo=UTC)

WITH_A_RULE = 907
"""Published ratios and scores, but for the total of the online block; see test_golden.py."""


def month(text: str = PERIOD) -> Period:
    parsed = parse_period(text)
    assert parsed is not None
    return parsed


def version(service: str, figure: PublishedFigure) -> Version:
    return Version(service=service, answer_id="a", seen_at=SEEN, figure=figure)


def golden(connection: Connection) -> list[Version]:
    """All golden tables through the import and out of the ledger again."""
    for service in (*TREES, *LISTS):
        table = path(TABLE_OF.get(service, "metrics")).read_bytes()
        given = GivenFile(
            service=service,
            period=PERIOD,
            form="csv",
            file_hash=TABLE_OF.get(service, "metrics"),
            submitted_by="operator",
            seen_at=SEEN,
        )
        assert published.put(connection, given, parse_table(packaged(), service, PERIOD, table))
    return published.versions(connection, PERIOD)


def same_counts(there: Sequence[Version]) -> dict[str, OurUnit]:
    """Ours, if the hub counted of every unit what the portal did; what it did not publish is unknown."""
    found: dict[str, dict[str, Count | None]] = {}
    for one in there:
        counts = found.setdefault(one.figure.unit, dict.fromkeys(packaged().quantities))
        if one.figure.metric == TOTAL:
            continue
        rate = packaged().rate(one.figure.metric)
        assert rate is not None
        for term, pair in zip(rate.terms, one.figure.terms, strict=True):
            for name, count in zip((term.numerator, term.denominator), pair, strict=True):
                known = None if count is None else int(count)
                assert counts[name] in (None, known), f"{one.figure.unit} {name}"
                counts[name] = known
    return {unit: OurUnit(counts=counts, unknown={}) for unit, counts in found.items()}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


# --- the golden tables -------------------------------------------------------------------------------


async def test_with_the_same_counts_every_published_figure_is_the_same(here: Hall) -> None:
    there = await here.lane.write(golden)
    every = compare(packaged(), month(), there, same_counts(there))
    rows = [one for one in every if one.verdict is not Verdict.ONLY_HERE]  # tables of some units

    assert len(rows) == len(there) == 523
    (apart,) = [one for one in rows if one.verdict is not Verdict.SAME]
    assert (apart.service, apart.metric) == ("provide-online-tree", TOTAL)
    assert apart.verdict is Verdict.NOT_COMPARABLE
    assert apart.why is not None
    assert "không tái tạo được" in apart.why.vi
    same = [one for one in rows if one.verdict is Verdict.SAME]
    assert all(one.portal == one.ours for one in same)
    figures = [value for one in same for value in (one.portal.ratio, one.portal.score)]
    assert sum(value is not None for value in figures) == WITH_A_RULE
    assert {one.points for one in same} == {None, Decimal(0)}
    assert all(one.borrowed == () for one in same)


@pytest.mark.parametrize("service", [*LISTS, *TREES[:2]])
def test_answers_of_the_api_compare_as_their_tables_do(service: str) -> None:
    there = [
        version(service, figure)
        for figure in parse_answer(packaged(), service, body(answer(service)), CODES)
    ]
    rows = compare(packaged(), month(), there, same_counts(there))
    assert {one.verdict for one in rows} == {Verdict.SAME}
    assert len(rows) == len(there)


async def test_the_totals_of_the_province_are_those_of_its_blocks(here: Hall) -> None:
    there = await here.lane.write(golden)
    totals = [
        version(RESULTS, one) for one in parse_answer(packaged(), RESULTS, body(results()), {})
    ]
    rows = compare(packaged(), month(), [*there, *totals], same_counts(there))
    told = {one.metric: one for one in rows if one.service == RESULTS}
    for group in ("CKMB", "TDGQ", "MDHL", "TTTT"):
        assert (told[group].verdict, told[group].points) == (Verdict.SAME, 0), group
    assert told["MDSH"].verdict in (Verdict.SAME, Verdict.DIFFERS)
    assert told["CLGQ"].verdict is Verdict.NOT_COMPARABLE
    assert told[TOTAL].verdict is Verdict.NOT_COMPARABLE


def test_a_total_without_its_parts_names_what_is_to_be_imported() -> None:
    totals = [
        version(RESULTS, one) for one in parse_answer(packaged(), RESULTS, body(results()), {})
    ]
    counts = dict.fromkeys(packaged().quantities, 0)
    rows = compare(packaged(), month(), totals, {PROVINCE: OurUnit(counts=counts, unknown={})})
    told = {one.metric: one.why for one in rows}
    why = told["TDGQ"]
    assert why is not None
    assert "on_time" in why.vi
    assert "dvc-progress-tree" in why.en


# --- verdicts ----------------------------------------------------------------------------------------


def own(**counts: int | None) -> OurUnit:
    """A unit of which dossiers alone are counted; what is not named is 0."""
    told: dict[str, Count | None] = {
        name: 0 if quantity.counts == "dossiers" and name not in TOLD_ELSEWHERE else None
        for name, quantity in packaged().quantities.items()
    }
    return OurUnit(counts=told | counts, unknown={"on_time_or_within_time": 3}, unjudged=2)


def figure(
    metric: str, *terms: tuple[int | None, int | None], **told: str | None
) -> PublishedFigure:
    pairs = tuple(
        Counts(
            *(None if n is None else Decimal(n) for n in pair),
        )
        for pair in terms or ((None, None),)
    )
    values = {name: None if value is None else Decimal(value) for name, value in told.items()}
    return PublishedFigure(unit="H44.07", metric=metric, terms=pairs, **values)  # type: ignore[arg-type]


def one_row(service: str, told: PublishedFigure, unit: OurUnit | None) -> Compared:
    here = {} if unit is None else {told.unit: unit}
    (row,) = compare(packaged(), month(), [version(service, told)], here)
    return row


PROGRESS = figure("on_time", (332, 482), ratio="68.88", score="13.78", maximum="20")


def test_a_difference_has_the_points_at_stake() -> None:
    row = one_row(
        TREES[0], PROGRESS, own(on_time_or_within_time=400, received_and_carried_over=482)
    )
    assert row.verdict is Verdict.DIFFERS
    assert (row.ours.ratio, row.ours.score) == (Decimal("82.99"), Decimal("16.6"))
    assert row.points == Decimal("-2.82")
    assert row.differing == (CountPair("on_time_or_within_time", Decimal(332), 400),)
    assert row.differing[0].difference == -68
    assert (row.unknown, row.unjudged) == (3, 2)
    assert row.as_dict()["verdict"] == "differs"


def test_equal_figures_of_other_counts_differ_nevertheless() -> None:
    told = replace(PROGRESS, ratio=Decimal(100), score=Decimal(20))
    told = replace(told, terms=(Counts(Decimal(2), Decimal(2)),))
    row = one_row(TREES[0], told, own(on_time_or_within_time=3, received_and_carried_over=3))
    assert (row.verdict, row.points) == (Verdict.DIFFERS, 0)


def test_a_unit_without_dossiers_is_held_against_what_the_portal_shows_for_none() -> None:
    told = figure("on_time", (0, 0), ratio="0", score="0")
    assert one_row(TREES[0], told, own()).verdict is Verdict.SAME


def test_a_score_that_is_not_shown_is_no_points() -> None:
    told = figure("ORIGINAL_RESULT_AVAILABLE", (50, 100), ratio="50", score="3")
    row = one_row("dossier-digitized", told, own())
    assert (row.verdict, row.ours.score, row.points) == (Verdict.DIFFERS, None, 3)
    none = one_row("dossier-digitized", figure("ORIGINAL_RESULT_AVAILABLE", (0, 0)), own())
    assert (none.verdict, none.points) == (Verdict.SAME, None)


def test_a_unit_that_the_hub_does_not_know_is_only_there() -> None:
    row = one_row(TREES[0], PROGRESS, None)
    assert row.verdict is Verdict.ONLY_THERE
    assert row.why is not None
    assert row.points is None


PAYMENT = figure("online_payment", (44, 44), (7, 8), (0, 8), ratio="80", score="8", maximum="10")


@pytest.mark.parametrize(
    ("paid", "verdict", "points"),
    [(44, Verdict.SAME, Decimal(0)), (22, Verdict.DIFFERS, Decimal(3))],
)
def test_counts_of_procedures_are_borrowed_and_named(
    paid: int, verdict: Verdict, points: Decimal
) -> None:
    row = one_row(TREES[1], PAYMENT, own(paid_online=paid, with_financial_obligation=44))
    assert (row.verdict, row.points) == (verdict, points)
    assert row.borrowed == (
        "fee_procedures_paid_online",
        "fee_procedures_distinct",
        "fee_procedures_synced",
        "fee_procedures",
    )


@pytest.mark.parametrize(
    ("service", "told", "word"),
    [
        ("transparency", figure("PUBLIC_CONTENT_FULL", (87, 89), ratio="97.75"), "procedures"),
        ("transparency", figure("DOSSIER_SYNC", (5, 5), ratio="100", score="6"), "reporting"),
        ("handling-satisfaction", figure("PETITION_PROCESSING_ON_TIME", (1, 2)), "petitions"),
        (
            "handling-satisfaction",
            figure("DOSSIER_RECEIVING_SATISFACTION", (1, 2), ratio="50"),
            "ratings",
        ),
        ("provide-online-tree", figure("channelOnlineSum/channelTotalSum", (1, 2)), "provisional"),
        ("provide-online-tree", figure(TOTAL, score="7.09"), "cannot be reproduced"),
        ("transparency", figure(TOTAL, score="7.96"), "not imported"),
    ],
    ids=lambda value: value.metric if isinstance(value, PublishedFigure) else "",
)
def test_what_cannot_be_compared_says_why(service: str, told: PublishedFigure, word: str) -> None:
    row = one_row(service, told, own(synced_received_in_period=4))
    assert row.verdict is Verdict.NOT_COMPARABLE
    assert row.why is not None
    assert word in row.why.en
    assert row.why.vi


def test_of_what_cannot_be_compared_the_counts_are_shown_all_the_same() -> None:
    told = figure("DOSSIER_SYNC", (5, 5), ratio="100", score="6")
    row = one_row("transparency", told, own(synced_received_in_period=4))
    assert row.differing == (CountPair("synced_received_in_period", Decimal(5), 4),)


def test_provisional_counts_that_agree_are_the_same() -> None:
    told = figure("channelOnlineSum/channelTotalSum", (1, 2))
    row = one_row("provide-online-tree", told, own(online_received=1, channel_total=2))
    assert row.verdict is Verdict.SAME


def test_what_the_portal_gives_to_everyone_is_the_same() -> None:
    told = figure("ELECTRONIC_CERTIFIED_COPY", ratio="100", score="2", maximum="2")
    assert one_row("dossier-digitized", told, own()).verdict is Verdict.SAME


def test_a_period_before_the_rule_is_not_comparable() -> None:
    (row,) = compare(packaged(), month("2025-12"), [version(TREES[1], PAYMENT)], {"H44.07": own()})
    assert row.verdict is Verdict.NOT_COMPARABLE
    assert row.why is not None
    assert "rule" in row.why.en


def test_a_total_takes_the_portal_s_scores_for_what_the_hub_cannot_count() -> None:
    counted = ("ORIGINAL_RESULT_AVAILABLE", "REUSED_DIGITIZED_DATA")
    there = [
        figure("ORIGINAL_RESULT_AVAILABLE", (50, 100), ratio="50", score="3"),
        figure("SO_HOA_GIAY_TO_GIAI_QUYET", (0, 100), ratio="0", score="0"),
        figure("REUSED_DIGITIZED_DATA", (80, 100), ratio="80", score="2"),
        figure("SYNCED_WITH_DVCQG_PERSONAL_STORAGE", (0, 100), ratio="0", score="0"),
        figure("CITIZEN_DATA_CONNECTED_DOSSIER", (0, 100), ratio="0", score="0"),
        figure("CITIZEN_DATA_CONNECTED_FORMALITY", (9, 90), ratio="10", score="0.2"),
        figure("ELECTRONIC_CERTIFIED_COPY", ratio="100", score="2"),
        figure(TOTAL, ratio="32.73", score="7.2", maximum="22"),
    ]
    unit = own(received_and_carried_over=100, with_electronic_result=60, with_reused_data=80)
    service = "dossier-digitized"
    rows = compare(packaged(), month(), [version(service, one) for one in there], {"H44.07": unit})
    told = {one.metric: one for one in rows}
    assert {metric: told[metric].points for metric in counted} == {
        "ORIGINAL_RESULT_AVAILABLE": Decimal("-0.6"),
        "REUSED_DIGITIZED_DATA": Decimal(0),
    }
    whole = told[TOTAL]
    assert (whole.verdict, whole.ours.score, whole.points) == (
        Verdict.DIFFERS,
        Decimal("7.8"),
        Decimal("-0.6"),
    )
    assert whole.borrowed == ("CITIZEN_DATA_CONNECTED_FORMALITY",)


def test_units_with_dossiers_of_which_nothing_is_published_are_only_here() -> None:
    there = [version(TREES[0], replace(PROGRESS, unit=unit)) for unit in ("H44", "H44.07")]
    counts = own(on_time_or_within_time=1, received_and_carried_over=2)
    here = {unit: counts for unit in ("H44", "H44.07", "H44.08", "H44.07.02")}
    here["H44.09"] = own()
    rows = compare(packaged(), month(), there, here)
    (row,) = [one for one in rows if one.verdict is Verdict.ONLY_HERE]
    assert (row.unit, row.ours.ratio, row.portal.ratio) == ("H44.08", Decimal(50), None)
    assert row.maximum == 20


def test_what_is_published_of_the_province_alone_is_missing_of_no_unit() -> None:
    told = replace(figure("channelOnlineSum/channelTotalSum", (1, 2)), unit="H44")
    counts = own(online_received=1, channel_total=2)
    rows = compare(
        packaged(), month(), [version(TREES[2], told)], {"H44": counts, "H44.07": counts}
    )
    assert [one.unit for one in rows] == ["H44"]


def test_every_quantity_that_dossiers_do_not_tell_has_its_reason() -> None:
    assert set(NOT_COUNTED) == set(TOLD_ELSEWHERE)


# --- our side ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "unit", "within"),
    [
        ("H44.07", "H44", True),
        ("H44.07.02", "H44.07", True),
        ("H44", "H44", True),
        ("H44.070", "H44.07", False),
        ("H44", "H44.07", False),
        ("H440", "H44", False),
    ],
)
def test_a_unit_stands_under_another_by_its_code(code: str, unit: str, within: bool) -> None:
    assert is_within(code, unit) is within


def test_the_dossiers_of_a_unit_are_those_of_the_units_under_it_too() -> None:
    codes = ("H44.07", "H44.07.02", "H44.08", "H44.070")
    assert scope_of("H44.07", codes).agencies == {"H44.07", "H44.07.02"}


MONDAY = ("received", "2026-03-02 09:00")


async def _filled(here: Hall, **state: Any) -> None:
    for name, unit, steps in (
        ("a", "H12.01", (MONDAY, ("finished", "2026-03-05 10:00"))),
        ("b", "H12.01", (MONDAY, ("finished", "2026-03-09 10:00"))),
        ("c", "H12.02", (MONDAY, ("finished", "2026-03-05 10:00"))),
    ):
        await here.put(*Story(name, steps, unit=unit, state=state).events())
    await here.refresh()


async def test_our_counts_are_summed_up_over_the_units_below(here: Hall) -> None:
    await _filled(here)
    start, end = span_of("2026-03")
    found = await here.lane.read(lambda c: ours(c, start, end, {"H12", "H12.09"}))
    assert {
        unit: (told.counts["received_and_carried_over"], told.counts["on_time_or_within_time"])
        for unit, told in found.items()
    } == {"H12": (3, 2), "H12.01": (2, 1), "H12.02": (1, 1), "H12.09": (0, 0)}
    assert found["H12"].counts["fee_procedures"] is None


def progress(unit: str, on_time: int, received: int) -> PublishedFigure:
    return PublishedFigure(
        unit=unit, metric="on_time", terms=(Counts(Decimal(on_time), Decimal(received)),)
    )


async def test_differences_are_those_of_the_province_and_of_what_is_wanted(here: Hall) -> None:
    await _filled(here)
    await here.ledger.put_mappings(
        [mapping(CodeList.AGENCY, unit, unit) for unit in ("H12.01", "H12.02", "H12.03")]
    )
    given = GivenFile(
        service=TREES[0],
        period="2026-03",
        form="csv",
        file_hash="x",
        submitted_by="operator",
        seen_at=datetime(2026, 4, 2, tzinfo=UTC),
    )
    told = [
        progress("H12", 2, 3),
        progress("H12.01", 1, 1),
        progress("H12.03", 0, 0),
        progress("H12.77", 1, 1),
        progress("H26", 1, 1),
    ]
    await here.lane.write(lambda c: published.put(c, given, told))

    async def asked(**wanted: str) -> dict[str, Verdict]:
        question = Wanted(period=month("2026-03"), province="H12", **wanted)  # type: ignore[arg-type]
        rows = await here.lane.read(lambda c: differences(c, question))
        return {one.unit: one.verdict for one in rows}

    assert await asked() == {
        "H12": Verdict.SAME,
        "H12.01": Verdict.DIFFERS,
        "H12.02": Verdict.ONLY_HERE,
        "H12.03": Verdict.SAME,
        "H12.77": Verdict.ONLY_THERE,
    }
    assert await asked(agency="H12.01") == {"H12.01": Verdict.DIFFERS}
    assert await asked(metric="online_payment") == {}
    assert await asked(service="transparency") == {}


async def test_a_period_that_goes_on_is_compared_up_to_the_answer(here: Hall) -> None:
    """Finished late on 9 March: on 6 March, at noon, the dossier was open and within its time."""
    await here.put(*Story("b", (MONDAY, ("finished", "2026-03-09 10:00"))).events())
    await here.refresh()
    given = GivenFile(
        service=TREES[0],
        period="2026-Q1",
        form="csv",
        file_hash="x",
        submitted_by="operator",
        seen_at=datetime(2026, 3, 6, 5, tzinfo=UTC),
    )
    await here.lane.write(lambda c: published.put(c, given, [progress("H12", 1, 1)]))
    question = Wanted(period=month("2026-Q1"), province="H12", agency="H12")
    (row,) = await here.lane.read(lambda c: differences(c, question))
    assert row.verdict is Verdict.SAME


async def test_without_an_import_there_is_nothing_to_compare(here: Hall) -> None:
    await _filled(here)
    question = Wanted(period=month("2026-03"), province="H12")
    assert await here.lane.read(lambda c: differences(c, question)) == []
