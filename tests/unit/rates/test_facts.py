"""What the newest state of a dossier says for the rates: so, not so, or not told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from monitoring.rates import facts
from schemas.dossier.mappings import CodeList, Codes
from schemas.dossier.service_levels import (
    ResultForm,
    Service,
    ServiceLevel,
    parse_service_levels,
)
from schemas.dossier.status import Status
from schemas.dossier.timeline import Entry, Timeline
from schemas.records import (
    Attachment,
    CodeName,
    DossierEvent,
    DossierTimes,
    Fee,
    FinancialState,
    OnlinePayment,
    ResultPaper,
    ScoreFields,
)
from tests.contract.ledger_contract import make_event
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import codes, mapping

PAPER = Attachment(
    file_id="1",
    part_code=None,
    reference="file",
    removed=False,
    digitised=None,
    reused=None,
    from_data_store=None,
)
RESULT = ResultPaper(
    file_id="2", part_code=None, result_code=None, reference="file", removed=False, signed=None
)
FEE = Fee(fee_id="3", code=None, name=None, amount=1, status=None, method=None, paid_at=None)


def case(
    fact: Callable[[DossierEvent], bool | None], expected: bool | None, what: str, **state: Any
) -> Any:
    return pytest.param(fact, state, expected, id=f"{fact.__name__}: {what}")


def parts(*papers: dict[str, Any]) -> tuple[Attachment, ...]:
    return tuple(replace(PAPER, **paper) for paper in papers)


CASES = [
    case(facts.electronic_result, False, "no paper"),
    case(facts.electronic_result, True, "a file", results=(RESULT,)),
    case(facts.electronic_result, False, "no file", results=(replace(RESULT, reference=None),)),
    case(facts.electronic_result, False, "removed", results=(replace(RESULT, removed=True),)),
    case(facts.digitised, False, "no component"),
    case(facts.digitised, False, "no file", attachments=parts({"reference": None})),
    case(facts.digitised, None, "no result: who knows", attachments=parts({})),
    case(facts.digitised, True, "both", attachments=parts({}), results=(RESULT,)),
    case(
        facts.digitised, False, "removed", attachments=parts({"removed": True}), results=(RESULT,)
    ),
    case(facts.reused, None, "nothing is told", attachments=parts({})),
    case(facts.reused, True, "one of two", attachments=parts({}, {"reused": True})),
    case(facts.reused, True, "the dossier's own", score=ScoreFields(has_digitised_components=True)),
    case(facts.reused, False, "said not to", score=ScoreFields(has_digitised_components=False)),
    case(facts.reused, None, "digitised here", attachments=parts({"digitised": True})),
    case(
        facts.reused,
        True,
        "digitised, born on the portal",
        attachments=parts({"digitised": True}),
        born_on_portal=True,
    ),
    case(facts.from_data_store, None, "no component"),
    case(
        facts.from_data_store,
        None,
        "not told of one",
        attachments=parts({}, {"from_data_store": False}),
    ),
    case(facts.from_data_store, False, "of none", attachments=parts({"from_data_store": False})),
    case(facts.from_data_store, True, "of one", attachments=parts({}, {"from_data_store": True})),
    case(facts.population_data, None, "nothing is told"),
    case(facts.population_data, True, "VNeID", score=ScoreFields(vneid_authenticated=True)),
    case(
        facts.population_data,
        False,
        "neither",
        score=ScoreFields(vneid_authenticated=False),
        attachments=parts({"from_data_store": False}),
    ),
    case(
        facts.population_data,
        None,
        "a database whose code nobody knows",
        score=ScoreFields(vneid_authenticated=False, databases_used=("7",)),
        attachments=parts({"from_data_store": False}),
    ),
    case(facts.population_data, True, "storage", attachments=parts({"from_data_store": True})),
    *(
        case(facts.paid_online, expected, str(way), score=ScoreFields(online_payment=way))
        for way, expected in (
            (OnlinePayment.PORTAL, True),
            (OnlinePayment.AGENCY_GATEWAY, True),
            (OnlinePayment.OFFLINE, False),
            (OnlinePayment.NONE, False),
            (None, None),
        )
    ),
    case(facts.financial_obligation, None, "nothing is told"),
    case(facts.financial_obligation, True, "a fee", fees=(FEE,)),
    case(facts.financial_obligation, False, "free", fees=(replace(FEE, amount=0),)),
    case(facts.financial_obligation, False, "none", financial_state=FinancialState.NONE),
    case(facts.financial_obligation, True, "owed", financial_state=FinancialState.OWED),
    case(
        facts.financial_obligation,
        True,
        "paid online",
        score=ScoreFields(online_payment=OnlinePayment.PORTAL),
    ),
]


@pytest.mark.parametrize(("fact", "state", "expected"), CASES)
def test_a_fact_is_so_or_not_or_unknown(
    fact: Callable[[DossierEvent], bool | None], state: dict[str, Any], expected: bool | None
) -> None:
    assert fact(replace(make_event("e"), **state)) is expected


def service(**known: Any) -> Service:
    unknown = Service(
        code="1.000001",
        level=ServiceLevel.FULL,
        valid_from=None,
        valid_to=None,
        result=None,
        has_fee=None,
        source="",
    )
    return replace(unknown, **known)


ON_PAPER = service(result=ResultForm.PAPER)
WITH_FEE, FREE = service(has_fee=True), service(has_fee=False)
NO_FEES = {"fees": (replace(FEE, amount=0),)}
PAID = {"score": ScoreFields(online_payment=OnlinePayment.PORTAL)}


@pytest.mark.parametrize(
    ("fact", "known", "state", "expected"),
    [
        pytest.param(*one[1:], id=f"{one[1].__name__}: {one[0]}")
        for one in (
            ("nothing more is known", facts.digitised, service(), {"attachments": parts({})}, None),
            ("paper alone", facts.digitised, ON_PAPER, {"attachments": parts({})}, False),
            (
                "paper, and a file of it",
                facts.digitised,
                ON_PAPER,
                {"attachments": parts({}), "results": (RESULT,)},
                True,
            ),
            (
                "no paper is needed",
                facts.digitised,
                service(result=ResultForm.ELECTRONIC),
                {"attachments": parts({})},
                True,
            ),
            (
                "no component",
                facts.digitised,
                service(result=ResultForm.ELECTRONIC),
                {"results": (RESULT,)},
                False,
            ),
            ("nothing more is known", facts.financial_obligation, service(), {}, None),
            ("the procedure's fee", facts.financial_obligation, WITH_FEE, {}, True),
            ("every fee is 0", facts.financial_obligation, WITH_FEE, NO_FEES, False),
            (
                "one fee is not 0",
                facts.financial_obligation,
                WITH_FEE,
                {"fees": (FEE, replace(FEE, amount=0))},
                True,
            ),
            ("a free procedure", facts.financial_obligation, FREE, {}, False),
            ("a free procedure, paid", facts.financial_obligation, FREE, PAID, False),
        )
    ],
)
def test_what_is_known_of_the_procedure_settles_it(
    fact: Callable[[DossierEvent, Service], bool | None],
    known: Service,
    state: dict[str, Any],
    expected: bool | None,
) -> None:
    assert fact(replace(make_event("e"), **state), known) is expected


RAISED = parse_service_levels(
    """code,level,valid_from,valid_to,result,fee,source
1.000001,partial,,2026-03-15,electronic,yes,QĐ giả định
1.000001,full,2026-03-15,,paper,no,QĐ giả định
""",
    "procedures.csv",
)


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        pytest.param("2026-03-14 23:59", ("partial", False, True), id="the last minute before"),
        pytest.param("2026-03-15 00:00", ("full", True, False), id="the midnight in Viet Nam"),
        pytest.param(None, ("full", True, False), id="not received: the day of the state"),
    ],
)
def test_the_level_is_that_of_the_day_of_reception(
    received: str | None, expected: tuple[str, bool, bool]
) -> None:
    event = make_event("e", at=at("2026-03-20 10:00"))
    timeline = Timeline(times=DossierTimes(received=at(received) if received else None))
    found = facts.facts(event, timeline, codes(), RAISED)
    assert (found.service_level, found.paper_result, found.financial_obligation) == expected


def test_a_reception_beyond_the_calendar_has_a_level_too() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    found = facts.facts(
        make_event("e"), Timeline(times=DossierTimes(received=last)), codes(), RAISED
    )
    assert found.service_level == "full"


MERGER = at("2026-03-15 00:00")
MERGED = Codes(
    [
        replace(mapping(CodeList.AGENCY, "old", "H12.01"), valid_to=MERGER),
        replace(mapping(CodeList.AGENCY, "old", "H12.02"), valid_from=MERGER),
    ]
)


@pytest.mark.parametrize(
    ("moment", "unit"), [("2026-03-14 23:59", "H12.01"), ("2026-03-15 00:00", "H12.02")]
)
def test_after_a_merger_a_dossier_moves_with_its_next_state(moment: str, unit: str) -> None:
    event = replace(make_event("e", at=at(moment)), handling_agency=CodeName(code="old", name=None))
    assert facts.facts(event, Timeline(times=event.times), MERGED).agency_code == unit


def test_codes_without_a_mapping_are_unknown() -> None:
    found = facts.facts(make_event("e"), Timeline(times=DossierTimes()), Codes())
    assert (found.agency_code, found.procedure_code) == (None, None)
    assert found.local_procedure_code == "P1"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param("2026-03-09 10:00", "2026-03-09 10:00", id="the field"),
        pytest.param(None, "2026-03-10 10:00", id="the status in its place"),
    ],
)
def test_when_the_result_was_handed_over(field: str | None, expected: str) -> None:
    timeline = Timeline(
        times=DossierTimes(returned=at(field) if field else None),
        entries=(Entry(status=Status.RETURNED, at=at("2026-03-10 10:00")),),
    )
    found = facts.facts(make_event("e"), timeline, Codes())
    assert found.returned_at == at(expected)
