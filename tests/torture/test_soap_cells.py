"""The cell of late creations can fail: its script lets the late one come first, and its verdict wants it found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streams.demo.verdict import Expectation
from tests.torture import settings as common
from tests.torture.soap_cells import CELLS, Cell
from tests.torture.soap_evidence import Call, Evidence

CODE, LATE_AT = "H12.01-261123-0001", 106.0


def cell(operation: str) -> Cell:
    (found,) = [one for one in CELLS if one.name == f"effect_at_2_L/{operation}"]
    return found


def call(at: float, operation: str, verdict: str | None, label: str | None = None) -> Call:
    return {
        "at": at,
        "codes": [CODE],
        "operation": operation,
        "verdict": verdict,
        "effects": 0,
        "items": 1,
        "label": label,
    }


def findings(effects: int, *later: Call) -> tuple[int | str, Sequence[str]]:
    """What is found of one creation that was decided late, with so many effects."""
    struck = [call(100.0, "create", "done", cell("create").name)] * 3
    late = {"code": CODE, "effects": effects, "decided_at": LATE_AT}
    told = Evidence(
        expected=Expectation(entries=[], states={}, steps={}, parked=[]),
        held={},
        parked={},
        calls=[*struck, *later],
        late=[late],
        found={},
    )
    result = told.judge(cell("create"), {CODE: 1}, "existence")
    return result.late_effects_found, result.findings


def test_the_second_creation_is_sent_away_until_the_late_one_has_come() -> None:
    first, again = cell("create").script(0, "steps")
    asked_after = common.SEND_BY_SECONDS + common.LATE_EFFECT_BOUND_SECONDS
    assert (first["trouble"], again["trouble"]) == ("late_effect", "unavailable")
    assert again["operation"] == "create"
    assert first["delay"] < asked_after + again["retry_after"]
    assert again["label"] != first["label"], "it is no fault of the cell's own"
    for other in ("update", "steps"):
        assert len(cell(other).script(0, "steps")) == 1


@pytest.mark.parametrize(("operation", "verdict"), [("create", "exists"), ("update", "done")])
def test_a_late_creation_is_found_by_whoever_comes_later(operation: str, verdict: str) -> None:
    assert findings(1, call(LATE_AT + 2, operation, verdict)) == (1, ())


def test_a_late_creation_that_nobody_noticed_is_a_finding() -> None:
    assert findings(1, call(LATE_AT - 2, "create", "exists")) == (
        0,
        (f"{CODE}: a late creation was not found",),
    )


def test_a_late_creation_that_was_only_refused_proves_nothing() -> None:
    found, said = findings(0, call(LATE_AT + 2, "update", "done"))
    assert (found, said) == (0, ("guard: no creation took effect late",))
