"""The table trouble x operation, the statuses, and that nothing that can be raised is missing."""

from __future__ import annotations

import asyncio
import socket
import ssl
import types
from collections.abc import Iterator
from typing import get_args

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from connectors.errors import MisconfiguredError, OutcomeUnknown, RejectedError, TransientError
from connectors.gov_reporting.elements import ANSWERS, OPERATIONS, OperationName, load_elements
from connectors.gov_reporting.faults import (
    EFFECTS,
    EXCEPTIONS,
    STATUSES,
    TABLE,
    Effect,
    Operation,
    Trouble,
    judge,
    trouble_of_answer,
    trouble_of_status,
)
from connectors.national_portal.faults import trouble_of_exception
from schemas.reasons import Reason

ELEMENTS = load_elements()
EVERY: tuple[Operation, ...] = (*OPERATIONS, "token")


def _classes(module: types.ModuleType) -> Iterator[type[Exception]]:
    for name in dir(module):
        found = getattr(module, name)
        if name[0] != "_" and isinstance(found, type) and issubclass(found, Exception):
            yield found


CLASSES = sorted(
    {
        each
        for module in (aiohttp, client_exceptions, http_exceptions, asyncio, ssl, socket)
        for each in _classes(module)
    },
    key=lambda each: (each.__module__, each.__qualname__),
)


def test_the_walk_finds_the_exceptions() -> None:
    assert len(CLASSES) > 40
    assert {aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError} <= set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_library_has_a_row(kind: type[Exception]) -> None:
    assert any(issubclass(kind, row[0]) for row in EXCEPTIONS)
    made = kind.__new__(kind)
    for operation in EVERY:
        before = judge(
            operation, trouble_of_exception(made, sent=False, rows=EXCEPTIONS), sent=False
        )
        after = judge(operation, trouble_of_exception(made, sent=True, rows=EXCEPTIONS), sent=True)
        # Not a byte written: surely nothing happened. A byte written by a write: never "surely nothing".
        assert isinstance(before, TransientError)
        wanted = OutcomeUnknown if EFFECTS[operation] is Effect.WRITE else TransientError
        assert isinstance(after, wanted)


def test_every_operation_has_its_effect() -> None:
    assert set(EFFECTS) == set(EVERY) == {*get_args(OperationName), "token"}


@pytest.mark.parametrize("reason", TABLE)
def test_what_asks_is_never_unknown_and_nothing_sent_never_either(reason: Reason) -> None:
    for operation in ("look_up", "inbox", "token"):
        assert not isinstance(
            judge(operation, Trouble(reason), sent=True),  # type: ignore[arg-type]  # of the names
            OutcomeUnknown,
        )
    assert not isinstance(judge("create", Trouble(reason), sent=False), OutcomeUnknown)


def test_every_reason_that_can_be_found_has_its_row() -> None:
    found = {row.reason for row in STATUSES if row.reason} | ANSWERS
    found |= {reason for _, *reasons in EXCEPTIONS for reason in reasons}
    found |= {Reason.FOREIGN_ANSWER, Reason.UNPARSEABLE_ANSWER, Reason.WRONG_CREDENTIALS}
    assert found == set(TABLE)


@pytest.mark.parametrize(
    ("status", "headers", "readable", "reason"),
    [
        (200, {}, True, None),
        (201, {}, True, None),
        (202, {}, True, None),
        (200, {}, False, Reason.UNPARSEABLE_ANSWER),
        (204, {}, False, Reason.UNPARSEABLE_ANSWER),
        (301, {}, False, Reason.CONTRACT_MISMATCH),
        (302, {}, True, Reason.CONTRACT_MISMATCH),
        (400, {}, True, None),
        (400, {}, False, Reason.CONTRACT_MISMATCH),
        (401, {}, True, Reason.SESSION_EXPIRED),
        (403, {}, True, None),
        (403, {}, False, Reason.ACCESS_DENIED),
        (404, {}, True, None),
        (404, {}, False, Reason.CONTRACT_MISMATCH),
        (407, {}, False, Reason.ACCESS_DENIED),
        (408, {}, False, Reason.TIMEOUT),
        (409, {}, True, None),
        (413, {}, False, Reason.FIELD_TOO_LONG),
        (429, {}, True, Reason.RATE_LIMITED),
        (500, {}, False, Reason.SERVER_FAULT),
        (500, {}, True, None),
        (502, {}, False, Reason.GATEWAY_ERROR),
        (503, {}, False, Reason.GATEWAY_ERROR),
        (503, {"Retry-After": "5"}, True, Reason.TARGET_UNAVAILABLE),
        (504, {}, False, Reason.GATEWAY_ERROR),
        (199, {}, False, Reason.UNPARSEABLE_ANSWER),
        (999, {}, False, Reason.UNPARSEABLE_ANSWER),
    ],
)
def test_statuses(
    status: int, headers: dict[str, str], readable: bool, reason: Reason | None
) -> None:
    trouble = trouble_of_status(status, headers, readable=readable)
    assert (trouble.reason if trouble else None) == reason


@pytest.mark.parametrize("status", range(100, 600))
def test_no_status_lets_a_write_pass_for_not_done_that_may_have_been(status: int) -> None:
    """Without a readable answer only what is spoken before the work is surely undone."""
    trouble = trouble_of_status(status, {}, readable=False)
    assert trouble is not None
    error = judge("create", trouble, sent=True)
    if isinstance(error, TransientError):
        assert status in (401, 429)
    if status >= 500 or status in (200, 202, 204, 408):
        assert isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize(
    ("operation", "status", "code", "reason"),
    [
        ("create", 200, "OK", None),
        ("create", 201, " ok ", None),
        ("create", 200, "DA_TON_TAI", Reason.ALREADY_EXISTS),
        ("create", 200, "DA_CO_LAN_GUI", Reason.REJECTED_BY_TARGET),
        ("update", 200, "DA_CO_LAN_GUI", None),
        ("update", 409, "SAI_THU_TU_LAN_GUI", Reason.REVISION_ORDER),
        ("update", 404, "KHONG_TON_TAI", Reason.NOT_FOUND),
        ("create", 404, "KHONG_TON_TAI", Reason.REJECTED_BY_TARGET),
        ("create", 500, "OK", Reason.UNPARSEABLE_ANSWER),
        ("create", 500, "LA_LAM", Reason.SERVER_FAULT),
        ("create", 200, "LOI_HE_THONG", Reason.SERVER_FAULT),
        ("create", 422, "LA_LAM", Reason.REJECTED_BY_TARGET),
        ("create", 200, None, Reason.UNPARSEABLE_ANSWER),
        ("create", 200, "  ", Reason.UNPARSEABLE_ANSWER),
    ],
)
def test_answers(
    operation: OperationName, status: int, code: str | None, reason: Reason | None
) -> None:
    trouble = trouble_of_answer(ELEMENTS, operation, status, code, "lời của hệ thống")
    assert (trouble.reason if trouble else None) == reason


def test_a_code_from_outside_is_told_short_and_plain() -> None:
    trouble = trouble_of_answer(
        ELEMENTS, "create", 422, "Trần Thị <Kiều>\n" + "x" * 100, "Trần Thị Kiều"
    )
    assert trouble is not None
    assert len(trouble.detail) < 60
    assert "ầ" not in trouble.detail
    assert "\n" not in trouble.detail


def test_a_refusal_for_its_structure_parks_a_write_and_stops_a_probe() -> None:
    trouble = Trouble(Reason.CONTRACT_MISMATCH)
    assert isinstance(judge("create", trouble, sent=True), RejectedError)
    assert isinstance(judge("look_up", trouble, sent=True), MisconfiguredError)
