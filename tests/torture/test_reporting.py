"""The judge of reports finds what must never happen, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pytest

from schemas.records import ReportPacket
from tests.contract.packets_contract import REPORT, make_packet
from tests.reporting_side import ReportVerdict, judge

OTHER = "figures/II.06/II.06b/2026-11/H12"
COUNTS = [f.name for f in fields(ReportVerdict) if f.name not in {"held", "findings"}]


def truth(report: str, *revisions: int, content: str = "") -> Mapping[str, Any]:
    """As the simulator tells it."""
    held = [{"revision": n, "hash": content or f"hash of {n}"} for n in revisions]
    return {"report": report, "revision": revisions[-1], "revisions": held}


def published(*revisions: int) -> dict[str, list[ReportPacket]]:
    return {REPORT: [make_packet(n) for n in revisions]}


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        ([truth(REPORT, 1, 2, 3)], {}),
        ([truth(REPORT, 3)], {}),  # the others were never due any more
        ([truth(REPORT, 1, 3)], {}),
        ([], {"missing": 1}),
        ([truth(REPORT, 1, 2)], {"stale": 1}),
        ([truth(REPORT, 3, 3)], {"duplicate_effects": 1}),
        ([truth(REPORT, 1, 3, 2, 3)], {"duplicate_effects": 1, "order_violations": 1}),
        ([truth(REPORT, 3, 2)], {"order_violations": 1, "stale": 1}),
        ([truth(REPORT, 3, content="another")], {"foreign": 1}),
        ([truth(REPORT, 3), truth(OTHER, 1)], {"foreign": 1}),
        ([truth(REPORT, 3, 4)], {"foreign": 1}),
    ],
)
def test_what_must_not_happen_is_counted(
    there: Sequence[Mapping[str, Any]], wrong: Mapping[str, int]
) -> None:
    found = judge(published(1, 2, 3), there)
    assert {name: getattr(found, name) for name in COUNTS} == {
        name: wrong.get(name, 0) for name in COUNTS
    }
    assert found.clean == (not wrong)
    assert len(found.findings) == sum(wrong.values())


def test_a_report_that_lies_with_a_person_need_not_have_arrived() -> None:
    assert judge(published(1, 2), [truth(REPORT, 1)], {REPORT}).clean
    assert judge(published(1, 2), [], {REPORT}).clean
    doubled = judge(published(1, 2), [truth(REPORT, 1, 1)], {REPORT})
    assert doubled.duplicate_effects == 1, "but what did arrive is judged"
