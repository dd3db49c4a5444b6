"""The figures of a period by unit: both values, mergers, the inputs of DOSSIER_SYNC. All invented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitoring.rates import filled
from monitoring.rates.catalogue import UnknownRate, packaged
from monitoring.rates.periods import parse_period
from monitoring.rates.points import Figure
from monitoring.rates.remarks import Note
from monitoring.rates.report import LARGER, NotBegun, RateFigure, Report, UnitRates, report
from monitoring.rates.step_counts import Steps
from monitoring.rates.sync import Flag
from monitoring.rates.units import Asked, UnitKind, UnknownAgency
from schemas.dossier.agencies import Agencies, parse_agencies
from schemas.dossier.mappings import CodeList
from schemas.records import (
    Channel,
    Fee,
    IndicatorObservation,
    OnlinePayment,
    Provenance,
    ScoreFields,
)
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import RULES, UNITS, Hall, Story, codes, hall, mapping
from tests.unit.rates.test_dossier_counts import deliver_state

MARCH = "2026-03"
NOW = at("2026-05-01 09:00")
MONDAY = ("received", "2026-03-02 09:00")
IN_TIME = (MONDAY, ("finished", "2026-03-05 10:00"))
LATE = (MONDAY, ("finished", "2026-03-09 10:00"))

OLD, OTHER, NEW, SPLIT = "H12.100", "H12.101", "H12.200", "H12.102"
DIRECTORY = parse_agencies(
    f"""code,name,parent,kind,valid_from,valid_to,successor
H12,UBND tỉnh,,province,,,
H12.01,Sở A,H12,department,,,
H12.01.01,Chi cục B,H12.01,unit,,,
{OLD},Xã cũ,H12,commune,,2026-03-16,{NEW}
{OTHER},Xã kia,H12,commune,,2026-03-16,{NEW}
{SPLIT},Xã bị chia,H12,commune,,2026-03-16,{NEW} H12.03
{NEW},Xã mới,H12,commune,2026-03-16,,
H12.03,Xã E,H12,commune,,,
""",
    "agencies.csv",
)
ALL = ("H12", "H12.01", "H12.01.01", OLD, OTHER, NEW, SPLIT, "H12.03", "H12.99")


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        await opened.ledger.put_mappings([mapping(CodeList.AGENCY, unit, unit) for unit in ALL])
        yield opened


async def enlist(ours: Hall, *stories: Story) -> None:
    for story in stories:
        await ours.put(*story.events())
    await ours.refresh(replace(RULES, codes=codes(ALL)))


async def reported(
    ours: Hall,
    period: str = MARCH,
    *,
    now: datetime = NOW,
    directory: Agencies | None = None,
    steps: Steps | None = None,
    **asked: Any,
) -> Report:
    parsed = parse_period(period)
    assert parsed is not None
    about = Asked(period=parsed, province="H12", **asked)
    return await ours.lane.read(lambda c: report(c, about, now, directory=directory, steps=steps))


def by_code(made: Report) -> dict[str | None, UnitRates]:
    return {unit.code: unit for unit in made.units}


def numbers(*values: Decimal | None) -> tuple[float | None, ...]:
    return tuple(None if value is None else float(value) for value in values)


def notes(figure: RateFigure | UnitRates) -> set[Note]:
    return {remark.note for remark in figure.remarks}


# --- units -------------------------------------------------------------------------------------------


async def test_without_a_directory_the_units_are_those_of_the_ledger(ours: Hall) -> None:
    await enlist(
        ours,
        Story("a", IN_TIME, unit="H12.01"),
        Story("b", LATE, unit="H12.01"),
        Story("c", IN_TIME, unit=OLD),
        Story("d", IN_TIME, unit="H77"),  # has no mapping
    )
    made = await reported(ours, rates=["on_time"])
    assert [(unit.kind, unit.code) for unit in made.units] == [
        (UnitKind.UNIT, "H12.01"),
        (UnitKind.UNIT, OLD),
        (UnitKind.UNMAPPED, None),
    ]
    on_time = [unit.rate("on_time") for unit in (*made.units, made.total)]
    assert [numbers(one.known.ratio, one.known.score) for one in on_time] == [
        (50, 10),
        (100, 20),
        (100, 20),
        (75, 15),
    ]
    assert all(one.known == one.shown for one in on_time)
    assert notes(made.units[-1]) == {Note.UNMAPPED}
    assert made.total.codes is None
    alone = await reported(ours, agency="H12.01", rates=["on_time"])
    assert alone.units == ()
    assert alone.total.codes == ("H12.01",)
    assert alone.total.rate("on_time").known == made.units[0].rate("on_time").known


def ratios(made: Report) -> list[tuple[UnitKind, str | None, float | None]]:
    return [
        (unit.kind, unit.code, numbers(unit.rate("on_time").known.ratio)[0]) for unit in made.units
    ]


async def test_a_row_is_an_agency_with_all_beneath_it(ours: Hall) -> None:
    await enlist(
        ours,
        Story("a", IN_TIME, unit="H12.01"),
        Story("b", LATE, unit="H12.01.01"),
        Story("c", LATE, unit="H12"),
        Story("d", IN_TIME, unit="H12.99"),
    )
    made = await reported(ours, directory=DIRECTORY, rates=["on_time"])
    assert ratios(made) == [
        (UnitKind.ITSELF, "H12", 0),
        (UnitKind.UNIT, "H12.01", 50),
        (UnitKind.UNIT, "H12.03", None),
        (UnitKind.UNIT, NEW, None),
        (UnitKind.UNLISTED, "H12.99", 100),
    ]
    assert by_code(made)["H12.01"].name == "Sở A"
    assert by_code(made)["H12.01"].codes == ("H12.01", "H12.01.01")
    inner = await reported(ours, directory=DIRECTORY, agency="H12.01", rates=["on_time"])
    assert ratios(inner) == [
        (UnitKind.ITSELF, "H12.01", 100),
        (UnitKind.UNIT, "H12.01.01", 0),
    ]
    assert inner.total.rate("on_time").known == by_code(made)["H12.01"].rate("on_time").known
    assert inner.total.name == "Sở A"


async def test_to_ask_for_the_root_is_to_ask_for_everything(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME, unit="H12.99"), Story("b", IN_TIME, unit="H77"))
    whole = await reported(ours, directory=DIRECTORY)
    root = await reported(ours, directory=DIRECTORY, agency="H12")
    assert root.total == whole.total
    assert root.units == whole.units


MERGED = (
    Story("before", IN_TIME, unit=OLD),  # ended under the old code, and stays there
    Story("kept", (MONDAY,), unit=OTHER),  # open, with no state since the merger
    Story("after", (("received", "2026-03-17 09:00"),), unit=NEW, due="2026-04-10 17:00"),
    Story("split", IN_TIME, unit=SPLIT),
)


@pytest.mark.parametrize(
    ("period", "now", "rows"),
    [
        (MARCH, NOW, {NEW: (2, 3), SPLIT: (1, 1), "H12.01": (0, 0), "H12.03": (0, 0)}),
        (
            "2026-02",
            NOW,
            {OLD: (0, 0), OTHER: (0, 0), SPLIT: (0, 0), "H12.01": (0, 0), "H12.03": (0, 0)},
        ),
        ("2026-04", NOW, {NEW: (0, 2), "H12.01": (0, 0), "H12.03": (0, 0)}),
    ],
    ids=["in mid-period", "before", "the month after"],
)
async def test_a_unit_that_was_merged_counts_whole_for_its_successor(
    ours: Hall, period: str, now: datetime, rows: Mapping[str, tuple[int, int]]
) -> None:
    await enlist(ours, *MERGED)
    made = await reported(ours, period, now=now, directory=DIRECTORY, rates=["on_time"])
    found = {
        code: (
            unit.rate("on_time").counts["on_time_or_within_time"],
            unit.rate("on_time").counts["received_and_carried_over"],
        )
        for code, unit in by_code(made).items()
    }
    assert found == rows


async def test_a_merger_is_said_and_the_old_code_leads_to_the_new_row(ours: Hall) -> None:
    await enlist(ours, *MERGED)
    made = await reported(ours, directory=DIRECTORY, rates=["on_time"])
    new = by_code(made)[NEW]
    assert new.codes == (OLD, OTHER, NEW)
    assert [remark.words.vi for remark in new.remarks] == [
        f"gồm cả đơn vị đã sáp nhập: {OLD} (Xã cũ), {OTHER} (Xã kia)"
    ]
    assert notes(by_code(made)[SPLIT]) == {Note.CLOSED}
    asked = await reported(ours, directory=DIRECTORY, agency=OLD, rates=["on_time"])
    assert asked.total.code == NEW
    assert asked.units == ()
    assert asked.total.rate("on_time").known == new.rate("on_time").known
    assert asked.total.remarks == new.remarks


async def test_rows_add_up_to_the_total_whatever_the_units(ours: Hall) -> None:
    stories = []
    for number in range(40):
        life = (IN_TIME, LATE, (MONDAY,))[number % 3]
        state = {
            "channel": (Channel.ONLINE, Channel.DIRECT)[number % 2],
            "score": ScoreFields(vneid_authenticated=bool(number % 5)),
        }
        unit = (*ALL, "H77")[number % (len(ALL) + 1)]
        stories.append(Story(f"d{number}", life, unit=unit, state=state))
    await enlist(ours, *stories)
    for directory in (None, DIRECTORY):
        for steps in (None, Steps(now=NOW)):
            made = await reported(ours, directory=directory, steps=steps)
            for figure in made.total.rates:
                for name, whole in figure.counts_shown.items():
                    if name == LARGER or whole is None:
                        continue
                    parts = [unit.rate(figure.rate.code).counts_shown[name] for unit in made.units]
                    assert sum(part or 0 for part in parts) == whole, name
            assert made.total.rate("on_time").counts["received_and_carried_over"] == 40


# --- both values -------------------------------------------------------------------------------------


async def test_an_empty_denominator_is_unknown_here_and_the_portal_s_value_there(
    ours: Hall,
) -> None:
    made = await reported(ours)
    assert made.units == ()
    told = {one.rate.code: one for one in made.total.rates}
    for code, ratio, score in (
        ("on_time", 0, 0),
        ("SO_HOA_GIAY_TO_GIAI_QUYET", None, None),
        ("DOSSIER_SYNC", None, None),
        ("ELECTRONIC_CERTIFIED_COPY", 100, 2),
    ):
        shown = told[code].shown
        assert told[code].known == Figure(None, None), code
        assert numbers(shown.ratio, shown.score) == (ratio, score), code
        assert told[code].determined


@pytest.mark.parametrize(
    "code",
    ["PETITION_PROCESSING_ON_TIME", "PUBLIC_CONTENT_FULL", "DOSSIER_RECEIVING_SATISFACTION"],
)
async def test_of_what_dossiers_do_not_tell_nothing_is_invented(ours: Hall, code: str) -> None:
    await enlist(ours, Story("a", IN_TIME))
    figure = (await reported(ours)).total.rate(code)
    assert not figure.determined
    assert figure.known == figure.shown == Figure(None, None)
    assert notes(figure) == {Note.NOT_COUNTED}


async def test_an_unknown_fact_is_unknown_here_and_counts_for_nothing_there(ours: Hall) -> None:
    told = {"score": ScoreFields(vneid_authenticated=True)}
    await enlist(ours, Story("told", IN_TIME, state=told), Story("silent", IN_TIME))
    figure = (await reported(ours)).total.rate("CITIZEN_DATA_CONNECTED_DOSSIER")
    assert figure.known == Figure(None, None)
    assert figure.shown == Figure(Decimal(50), Decimal(1))
    assert notes(figure) == {Note.UNKNOWN}
    assert "1 hồ sơ chưa rõ" in figure.remarks[0].words.vi


async def test_a_provisional_count_is_said(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME, state={"channel": Channel.ONLINE}))
    figure = (await reported(ours)).total.rate("channelOnlineSum/channelTotalSum")
    assert figure.known.ratio == 100
    assert [remark.note for remark in figure.remarks] == [Note.PROVISIONAL, Note.PROVISIONAL]
    assert all(remark.provisional for remark in figure.remarks)


async def test_dossiers_whose_life_cannot_be_read_are_told_by_unit(ours: Hall) -> None:
    await enlist(
        ours,
        Story("a", IN_TIME, unit="H12.01"),
        Story("b", (MONDAY, ("no such status", "2026-03-03 09:00")), unit="H12.03"),
    )
    made = await reported(ours, directory=DIRECTORY)
    units = by_code(made)
    assert (units["H12.03"].unjudged, units["H12.01"].unjudged, made.total.unjudged) == (1, 0, 1)
    assert Note.UNJUDGED in notes(units["H12.03"])


async def test_blocks_add_up_what_is_told_and_say_what_is_not(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME), Story("b", LATE))
    total = (await reported(ours)).total
    blocks = {one.block: one for one in total.blocks}
    assert list(blocks) == list(packaged().blocks)
    progress = blocks["dvc-progress-tree"]
    assert progress.known == progress.shown == Figure(Decimal("50.00"), Decimal("10.00"))
    assert progress.without == ()
    online = blocks["provide-online-tree"]
    assert (online.known, online.shown) == (Figure(None, None), Figure(None, None))
    satisfaction = blocks["handling-satisfaction"]
    assert satisfaction.shown == Figure(None, None)
    assert len(satisfaction.without) == 3
    digitised = blocks["dossier-digitized"]
    assert digitised.without == ("CITIZEN_DATA_CONNECTED_FORMALITY",)
    assert numbers(digitised.known.score, digitised.shown.score) == (None, 2)
    assert total.total is not None
    assert total.total.known == Figure(None, None)
    assert total.total.shown.score == sum(
        one.shown.score for one in blocks.values() if one.shown.score is not None
    )
    assert total.total.maximum == 100


async def test_of_a_rate_of_several_terms_the_told_ones_are_the_least(ours: Hall) -> None:
    fee = Fee(
        fee_id="1", code=None, name=None, amount=20_000, status=None, method=None, paid_at=None
    )
    paid = {"fees": (fee,), "score": ScoreFields(online_payment=OnlinePayment.PORTAL)}
    owed = {"fees": (fee,), "score": ScoreFields(online_payment=OnlinePayment.OFFLINE)}
    await enlist(ours, Story("a", IN_TIME, state=paid), Story("b", IN_TIME, state=owed))
    total = (await reported(ours)).total
    figure = total.rate("online_payment")
    assert numbers(figure.least, figure.shown.score, figure.known.score) == (3, None, None)
    block = next(one for one in total.blocks if one.block == "formality-online-payment-tree")
    assert numbers(block.shown.score) == (3,)
    assert block.without == ("online_payment",)


async def test_a_rule_that_does_not_hold_for_the_period_computes_nothing(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME))
    figure = (await reported(ours, "2025-03")).total.rate("online_payment")
    assert figure.out_of_force
    assert Note.NOT_IN_FORCE in notes(figure)
    assert (figure.known, figure.shown, figure.least) == (
        Figure(None, None),
        Figure(None, None),
        None,
    )


async def test_procedure_and_sector_narrow_everything(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME, unit="H12.01"))
    for procedure, sector, number in (
        ("1.000001", None, 1),
        ("1.000002", None, 0),
        (None, "S1", 1),
        (None, "S2", 0),
    ):
        made = await reported(ours, procedure=procedure, sector=sector)
        assert made.total.rate("on_time").counts["received_and_carried_over"] == number


# --- DOSSIER_SYNC ------------------------------------------------------------------------------------


def observation(
    indicator: str, period: str, value: str | None, agency: str = "H12", **changes: Any
) -> IndicatorObservation:
    told = IndicatorObservation(
        observation_id=f"{indicator}-{agency}-{period}",
        indicator=indicator,
        value=None if value is None else Decimal(value),
        unit="dossiers",
        agency=agency,
        period=period,
        as_of=date(2026, 4, 2),
        provenance=Provenance(system="bcqg", document="12/BC-VP"),
        corrects=None,
        observed_at=datetime(2026, 4, 2, 2, tzinfo=UTC),
        submitted_by="bcqg",
    )
    return replace(told, **changes)


async def observe(ours: Hall, *told: IndicatorObservation) -> None:
    await ours.ledger.put_observations(lambda _: told)


PORTAL, REPORT = "received_per_portal", "received_per_report"


@pytest.mark.parametrize(
    ("told", "known", "shown", "flag"),
    [
        ([(PORTAL, MARCH, "4"), (REPORT, MARCH, "5")], 5, 5, Flag.TEMPORARY),
        ([(PORTAL, MARCH, "5"), (REPORT, MARCH, "4")], 5, 5, Flag.TEMPORARY),
        ([(PORTAL, MARCH, "4"), (REPORT, MARCH, "4")], 4, 4, Flag.TEMPORARY),
        ([(PORTAL, MARCH, "4")], 4, 4, Flag.TEMPORARY),
        ([(REPORT, MARCH, "8")], 8, 8, Flag.TEMPORARY),
        ([(REPORT, MARCH, "1")], 1, 2, Flag.TEMPORARY),
        ([(PORTAL, MARCH, "0"), (REPORT, MARCH, "0"), (REPORT, "2025", "48")], 4, 4, Flag.TEMPORARY),
        ([(PORTAL, MARCH, "0"), (REPORT, MARCH, "0")], None, None, Flag.NO_DATA),
        ([(REPORT, "2025", "48")], None, 2, Flag.TEMPORARY),
        ([(PORTAL, MARCH, "4"), (REPORT, "2025", "480")], 4, 4, Flag.TEMPORARY),
        ([(PORTAL, "2026-02", "7"), (REPORT, "2024", "7")], None, 2, Flag.TEMPORARY),
        ([], None, 2, Flag.TEMPORARY),
    ],
    ids=[
        *("the report is larger", "the portal is larger", "both are equal", "no report"),
        *("no portal", "no portal, which holds more", "both 0, last year stands in"),
        *("both 0 and nothing else", "only last year", "last year is not asked", "other periods", "nothing"),
    ],
)  # fmt: skip
async def test_the_denominator_of_synchronisation(
    ours: Hall,
    told: Sequence[tuple[str, str, str]],
    known: int | None,
    shown: int | None,
    flag: Flag,
) -> None:
    """The portal holds two of three dossiers. It marks every denominator, also that of a report."""
    await enlist(ours, *(Story(name, IN_TIME) for name in "abc"))
    for name in "ab":
        await deliver_state(ours, name)
    await observe(ours, *(observation(*one) for one in told))
    figure = (await reported(ours)).total.rate("DOSSIER_SYNC")
    assert figure.counts["synced_received_in_period"] == 2
    assert (figure.counts[LARGER], figure.counts_shown[LARGER]) == (known, shown)
    assert figure.known.ratio == (None if known is None else _percent(2, known))
    assert figure.shown.ratio == (None if shown is None else _percent(2, shown))
    assert figure.sync is not None
    assert (figure.sync.known or figure.sync.shown).flag is flag
    (remark,) = figure.remarks
    assert (remark.note, remark.provisional) == (Note.SYNC_BASE, True)


def _percent(numerator: int, denominator: int) -> Decimal:
    return (Decimal(100) * numerator / denominator).quantize(Decimal("0.01"))


@pytest.mark.parametrize(
    ("period", "known"),
    [("2026-03", 10), ("2026-Q1", 30), ("2026", 120), ("2026-H1", None)],
    ids=["a twelfth", "a quarter", "the whole", "of a half year nobody says"],
)
async def test_last_year_s_report_stands_in_by_the_length_of_the_period(
    ours: Hall, period: str, known: int | None
) -> None:
    await observe(ours, observation(PORTAL, period, "0"), observation(REPORT, "2025", "120"))
    figure = (await reported(ours, period, now=at("2027-02-01 09:00"))).total.rate("DOSSIER_SYNC")
    assert figure.counts[LARGER] == known


async def test_an_input_is_named_with_period_day_and_source(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME))
    await observe(ours, observation(PORTAL, MARCH, "3"), observation(REPORT, MARCH, "4"))
    made = await reported(ours)
    (remark,) = made.total.rate("DOSSIER_SYNC").remarks
    assert remark.words.vi == (
        "mẫu số theo số của Hệ thống báo cáo: 4 (kỳ 2026-03, số liệu ngày 02/04/2026, nguồn bcqg · 12/BC-VP); số tạm, Cổng đánh dấu TEMP_NATIONAL_REPORT_DENOMINATOR"
    )
    assert "(period 2026-03, as of 2026-04-02, source bcqg · 12/BC-VP)" in remark.words.en
    assert remark.words.en.endswith("the portal's mark: TEMP_NATIONAL_REPORT_DENOMINATOR")


async def test_each_unit_has_its_own_inputs_and_a_narrower_question_none(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME, unit="H12.01"), Story("b", IN_TIME, unit=OLD))
    await observe(
        ours,
        observation(REPORT, MARCH, "9"),
        observation(REPORT, MARCH, "4", "H12.01"),
        observation(REPORT, MARCH, "6", NEW),
    )
    made = await reported(ours, directory=DIRECTORY)
    larger = {
        code: unit.rate("DOSSIER_SYNC").counts[LARGER] for code, unit in by_code(made).items()
    }
    assert larger == {"H12.01": 4, NEW: 6, "H12.03": None}
    assert made.total.rate("DOSSIER_SYNC").counts[LARGER] == 9
    one = await reported(ours, directory=DIRECTORY, agency="H12.01")
    assert one.total.rate("DOSSIER_SYNC").counts[LARGER] == 4
    part = await reported(ours, procedure="1.000001")
    assert part.total.rate("DOSSIER_SYNC").counts[LARGER] is None


async def test_a_figure_that_was_taken_back_is_not_there_and_a_correction_holds(
    ours: Hall,
) -> None:
    first = observation(REPORT, MARCH, "9")
    await observe(ours, first)
    await observe(
        ours,
        replace(
            first,
            observation_id="c1",
            corrects=first.observation_id,
            value=Decimal(7),
            observed_at=first.observed_at + timedelta(days=1),
        ),
    )
    figure = (await reported(ours)).total.rate("DOSSIER_SYNC")
    assert figure.counts[LARGER] == 7
    await observe(
        ours,
        replace(
            first,
            observation_id="c2",
            corrects=first.observation_id,
            value=None,
            observed_at=first.observed_at + timedelta(days=2),
        ),
    )
    figure = (await reported(ours)).total.rate("DOSSIER_SYNC")
    assert figure.counts[LARGER] is None


async def test_the_newer_wording_counts_steps_and_says_how_many(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME), Story("b", IN_TIME, unit=UNITS[1]))
    code = "DOSSIER_SYNC_IN_TIME"
    figure = (await reported(ours, steps=Steps(now=NOW))).total.rate(code)
    assert figure.counts == {"progress_synced_in_time": 0, "handled_in_period": 2}
    assert figure.known == Figure(Decimal("0.00"), None)
    assert notes(figure) == {Note.STEPS, Note.NOT_IN_FORCE}
    assert "0/4 bước" in figure.remarks[0].words.vi
    early = (await reported(ours, steps=Steps(now=at("2026-03-02 09:10")), now=NOW)).total
    assert early.rate(code).counts["progress_synced_in_time"] == 2
    for steps in (None, Steps(now=NOW, since=at("2026-04-01 00:00"))):
        unknown = (await reported(ours, steps=steps)).total.rate(code)
        assert unknown.counts["progress_synced_in_time"] is None
        assert Note.NOT_COUNTED in notes(unknown)


# --- what is asked -----------------------------------------------------------------------------------


async def test_a_period_that_has_not_ended_is_provisional_and_counts_until_now(ours: Hall) -> None:
    await enlist(ours, Story("a", (MONDAY,)))  # due on the sixth
    early = await reported(ours, now=at("2026-03-06 09:00"))
    assert (early.ended, early.end) == (False, at("2026-03-06 09:00"))
    assert early.total.rate("on_time").known.ratio == 100
    late = await reported(ours)
    assert (late.ended, late.end) == (True, at("2026-04-01 00:00"))
    assert late.total.rate("on_time").known.ratio == 0


async def test_what_cannot_be_answered_is_refused(ours: Hall) -> None:
    with pytest.raises(NotBegun, match="2026-06"):
        await reported(ours, "2026-06")
    with pytest.raises(UnknownRate):
        await reported(ours, rates=["ontime"])
    for directory in (None, DIRECTORY):
        with pytest.raises(UnknownAgency) as refused:
            await reported(ours, agency="H12.33", directory=directory)
        assert "H12.03" in refused.value.near


async def test_dossiers_that_are_not_reckoned_yet_are_counted(ours: Hall) -> None:
    await ours.put(*Story("a", IN_TIME).events())
    assert (await reported(ours)).due == 1
    await enlist(ours)
    assert (await reported(ours)).due == 0


async def test_all_of_it_can_be_written_as_json(ours: Hall) -> None:
    await enlist(ours, *MERGED)
    await observe(ours, observation(PORTAL, MARCH, "0"), observation(REPORT, "2025", "100"))
    made = await reported(ours, directory=DIRECTORY, steps=Steps(now=NOW))
    told = json.loads(json.dumps(made.as_dict(), default=str))
    assert (told["period"], told["provisional"]) == (MARCH, False)
    sync = next(one for one in told["total"]["rates"] if one["rate"] == "DOSSIER_SYNC")
    assert sync["terms"][0]["denominator"] == {"quantity": LARGER, "known": 8.33, "shown": 8.33}
    assert sync["inputs"]["last_year"]["count"] == 100
    assert sync["inputs"]["known"] == "last_year"


# --- the numbers of a formula --------------------------------------------------------------------------


def lines(figure: RateFigure) -> list[str]:
    return [line.vi for line in filled.rate(packaged(), figure).lines]


async def test_a_formula_is_told_with_its_numbers(ours: Hall) -> None:
    lives = (IN_TIME, IN_TIME, LATE)
    await enlist(ours, *(Story(f"d{n}", life) for n, life in enumerate(lives)))
    told = lines((await reported(ours)).total.rate("on_time"))
    assert told[2:] == [
        "tỷ lệ = 100 × 2 / 3 = 66.67 %",
        "điểm = nhỏ hơn trong 20 và 66.67 × 20 / 100 = 13.33",
        "trong trục: tỷ lệ 66.67, điểm 13.33",
        "Cổng hiện: tỷ lệ 66.67, điểm 13.33",
    ]


async def test_a_formula_whose_two_values_differ_is_told_twice(ours: Hall) -> None:
    told = {"score": ScoreFields(vneid_authenticated=True)}
    await enlist(ours, Story("told", IN_TIME, state=told), Story("silent", IN_TIME))
    found = lines((await reported(ours)).total.rate("CITIZEN_DATA_CONNECTED_DOSSIER"))
    assert found[0].endswith("= chưa rõ (Cổng: 1)")
    assert "trong trục: tỷ lệ = 100 × chưa rõ / 2: chưa tính được" in found
    assert "theo Cổng: tỷ lệ = 100 × 1 / 2 = 50 %" in found
    assert "theo Cổng: điểm = nhỏ hơn trong 2 và 50 × 2 / 100 = 1" in found
    assert "Cổng hiện: tỷ lệ 50, điểm 1" in found


async def test_a_product_and_an_empty_denominator_are_told(ours: Hall) -> None:
    total = (await reported(ours)).total
    product = lines(total.rate("online_submission"))
    assert any(") / (0 × chưa rõ): chưa tính được" in one for one in product)
    assert any(one.endswith("100 × 0 / 0: mẫu số bằng 0") for one in lines(total.rate("on_time")))


async def test_every_rate_and_block_can_be_told_with_its_numbers(ours: Hall) -> None:
    await enlist(ours, Story("a", IN_TIME))
    total = (await reported(ours)).total
    for figure in total.rates:
        assert all(line.vi and line.en for line in filled.rate(packaged(), figure).lines)
    for code in packaged().blocks:
        told = filled.block(packaged(), total, code)
        assert told.lines[-1].vi
    progress = filled.block(packaged(), total, "dvc-progress-tree")
    assert [line.vi for line in progress.lines] == [
        "on_time: 20 (Cổng 20), tối đa 20",
        "tổng trong trục: 20; Cổng hiện: 20, tối đa 20",
    ]
    with pytest.raises(KeyError):
        filled.block(packaged(), total, "no block")
