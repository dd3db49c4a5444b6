"""Order, status after an action, supplements and turning points."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.one_stop.columns import STEP
from connectors.one_stop.history import View, in_order, supplements, turning_points, views
from tests.unit.one_stop.samples import action, row

GROUP = 35301
STEPS = {
    (GROUP, 1, code): row(STEP, dossierStatus=status, dossierSubStatus=sub_status)
    for code, status, sub_status in (
        ("200", "processing", ""),
        ("120", "", ""),
        ("210", "waiting", ""),
        ("215", "waiting", "waiting_tax"),
        ("410", "cancelled", ""),
        ("420", "denied", ""),
    )
}
MEANINGS = {(GROUP, "waiting", "waiting_tax"): "6"}


def life(*steps: str, **last: Any) -> list[View]:
    """A chain of actions 1, 2, 3… through these steps, an hour and a day of due date apart."""
    actions = [
        action(
            dossierActionId=n,
            previousActionId=n - 1,
            serviceProcessId=1,
            stepCode=code,
            createDate=f"2026-11-02 {7 + n:02d}:00:00",
            dueDate=f"2026-11-{10 + n} 17:00:00",
            actionUser=f"Cán bộ {n}",
        )
        for n, code in enumerate(steps, start=1)
    ]
    actions[-1] |= last
    return views(actions, STEPS, {})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(1, 0, "08"), (2, 1, "08"), (3, 2, "08")], [1, 2, 3]),
        ([(3, 0, "08"), (1, 3, "08"), (2, 1, "08")], [3, 1, 2]),  # the chain beats the id
        ([(3, 0, "09"), (1, 3, "08")], [3, 1]),  # and the time
        ([(2, 0, "08"), (1, 0, "09")], [2, 1]),  # without a chain the time
        ([(2, 0, "08"), (1, 0, "08")], [1, 2]),  # then the id
        ([(2, 99, "08"), (1, 98, "09")], [2, 1]),  # links to what is not there
        ([(1, 2, "09"), (2, 1, "08")], [2, 1]),  # a circle loses nothing
        ([(1, 1, "08")], [1]),
    ],
)
def test_order(rows: list[tuple[int, int, str]], expected: list[int]) -> None:
    actions = [
        action(dossierActionId=n, previousActionId=p, createDate=f"2026-11-02 {h}:00:00")
        for n, p, h in rows
    ]
    assert [found["dossierActionId"] for found in in_order(actions)] == expected


def test_a_step_without_a_status_carries_the_one_before() -> None:
    first, second = life("200", "120")
    assert first.status == {"status": "processing", "sub_status": None, "carried": False}
    assert second.status == {"status": "processing", "sub_status": None, "carried": True}
    assert second.previous == first.row


def test_the_first_action_without_a_status_has_none() -> None:
    (only,) = life("120")
    assert only.status is None


def test_the_status_of_a_deleted_action_is_remembered() -> None:
    status = {"status": "processing", "sub_status": None, "carried": False}
    (found,) = views(
        [action(previousActionId=55, serviceProcessId=1, stepCode="120")], STEPS, {55: status}
    )
    assert found.status == {**status, "carried": True}


def test_a_supplement_runs_from_the_request_to_its_receipt() -> None:
    (told,) = supplements(life("200", "210", "200"), MEANINGS)
    assert (told["id"], told["requested_by"], told["received_by"]) == ("2", "Cán bộ 2", "Cán bộ 3")
    assert (told["old_due"], told["new_due"]) == ("2026-11-11 17:00:00", "2026-11-13 17:00:00")
    assert told["completed_at"] == "2026-11-02 10:00:00"


def test_an_open_supplement_has_no_new_due_date() -> None:
    (told,) = supplements(life("200", "210", "120"), MEANINGS)
    assert (told["completed_at"], told["new_due"]) == (None, None)


def test_two_requests_are_two_supplements() -> None:
    told = supplements(life("200", "210", "200", "210"), MEANINGS)
    assert [one["id"] for one in told] == ["2", "4"]


def test_waiting_for_a_tax_is_no_supplement() -> None:
    assert supplements(life("200", "215", "200"), MEANINGS) == []
    assert len(supplements(life("200", "215", "200"), {})) == 1


def test_a_rolled_back_request_is_no_supplement() -> None:
    assert supplements(life("200", "210", state_=2), MEANINGS) == []


@pytest.mark.parametrize(
    ("steps", "last", "name", "expected"),
    [
        (("200", "410"), {}, "withdrawn_at", "2026-11-02 09:00:00"),
        (("200", "410", "120"), {}, "withdrawn_at", "2026-11-02 09:00:00"),
        (("200", "410"), {"state_": 2}, "withdrawn_at", None),
        (("410", "200"), {}, "withdrawn_at", None),
        (("420",), {}, "refused_at", "2026-11-02 08:00:00"),
        (("200",), {}, "refused_at", None),
        (("200", "200"), {"actionCode": "8501"}, "extended_from", "2026-11-11 17:00:00"),
        (("200",), {"actionCode": "8501"}, "extended_from", None),
        (("200", "200"), {}, "extended_from", None),
    ],
)
def test_turning_points(
    steps: tuple[str, ...], last: dict[str, Any], name: str, expected: str | None
) -> None:
    assert turning_points(life(*steps, **last))[name] == expected
