"""What the newest state of a dossier says for the rates: so, not so, or not told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from monitoring.rates import facts
from schemas.dossier.mappings import CodeList, Codes
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
from tests.unit.rates.counted import mapping

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
