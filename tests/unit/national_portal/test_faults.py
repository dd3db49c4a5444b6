"""The table trouble x operation, and that nothing that can be raised is missing from it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import types
from collections.abc import Iterator

import aiohttp
import pytest
import zeep.exceptions
from aiohttp import client_exceptions, http_exceptions
from lxml import etree

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.national_portal.client import ZEEP_EXCEPTIONS
from connectors.national_portal.dialect import OPERATIONS, Dialect, OperationName, load_dialect
from connectors.national_portal.faults import (
    EFFECTS,
    TABLE,
    Effect,
    Trouble,
    judge,
    retry_after_seconds,
    trouble_of_answer,
    trouble_of_exception,
    trouble_of_fault,
    trouble_of_status,
)
from schemas.reasons import Reason

MODULES = (
    zeep.exceptions,
    client_exceptions,
    http_exceptions,
    etree,
    asyncio,
    ssl,
    socket,
)


def _classes(module: types.ModuleType) -> Iterator[type[Exception]]:
    for name in dir(module):
        found = getattr(module, name)
        if name[0] != "_" and isinstance(found, type) and issubclass(found, Exception):
            yield found


CLASSES = sorted(
    {each for module in MODULES for each in _classes(module)},
    key=lambda each: (each.__module__, each.__qualname__),
)


def _made(kind: type[Exception]) -> Exception:
    """An instance without its constructor's demands: only the class is judged."""
    made = (SyntaxError if issubclass(kind, SyntaxError) else kind).__new__(kind)
    assert isinstance(made, kind)
    return made


def test_the_walk_finds_the_exceptions() -> None:
    assert len(CLASSES) > 60
    assert {zeep.exceptions.Fault, aiohttp.ServerDisconnectedError, etree.XMLSyntaxError} <= set(
        CLASSES
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_has_a_row(kind: type[Exception]) -> None:
    assert any(issubclass(kind, row[0]) for row in ZEEP_EXCEPTIONS)
    for operation in OPERATIONS:
        before = judge(
            operation,
            trouble_of_exception(_made(kind), sent=False, rows=ZEEP_EXCEPTIONS),
            sent=False,
        )
        after = judge(
            operation, trouble_of_exception(_made(kind), sent=True, rows=ZEEP_EXCEPTIONS), sent=True
        )
        # Not a byte written: surely nothing happened. A byte written by a write: never "surely nothing".
        assert not isinstance(before, OutcomeUnknown)
        if EFFECTS[operation] is Effect.WRITE:
            assert isinstance(after, OutcomeUnknown)
        else:
            assert isinstance(after, TransientError)


def test_an_exception_of_nobodys_is_unclassified() -> None:
    class Stranger(Exception):
        pass

    trouble = trouble_of_exception(Stranger("Trần Thị Mộng Kiều"), sent=True)
    assert trouble.reason is Reason.UNCLASSIFIED_ERROR
    assert trouble.detail == "exception=Stranger"
    assert isinstance(judge("create", trouble, sent=True), OutcomeUnknown)
    assert isinstance(judge("create", trouble, sent=False), TransientError)


TRANSPORT_REASONS = [
    reason
    for reason in Reason
    if reason
    not in {
        # Of the engine, the ledger and the dead letters; a call never ends so.
        Reason.UNMAPPED,
        Reason.CODE_CONFLICT,
        Reason.CODE_CHANGED,
        Reason.DELETED_AT_SOURCE,
        Reason.OUTCOME_UNKNOWN,
        Reason.GAP,
        Reason.NO_CODE,
        Reason.BEFORE_RECEPTION,
        Reason.UNCHANGED,
        Reason.NEWER_STATE,
        Reason.CORRECTED_AT_SOURCE,
        Reason.RESTORED,
        Reason.LATE_CREATE,
        Reason.LATE_STATE,
        Reason.LATE_STEP,
        Reason.STEP_TWICE,
        Reason.REVISION_MISSING,
        Reason.REVISION_CONFLICT,
        Reason.UNDECODABLE,
        Reason.UNREADABLE_PAYLOAD,
        Reason.IMPOSSIBLE_VALUE,
        # Of reports, which go to another target.
        Reason.REVISION_ORDER,
        Reason.PERIOD_REFUSED,
        Reason.FIGURES_REFUSED,
        Reason.FORM_UNKNOWN,
    }
]


def test_the_table_has_every_reason_that_a_call_can_end_with() -> None:
    assert sorted(TABLE) == sorted(TRANSPORT_REASONS)


@pytest.mark.parametrize("reason", TRANSPORT_REASONS)
def test_a_read_or_login_is_never_unknown(reason: Reason) -> None:
    for operation in ("look_up", "login", "procedures"):
        assert not isinstance(judge(operation, Trouble(reason), sent=True), OutcomeUnknown)


@pytest.mark.parametrize(
    ("status", "xml", "reason"),
    [
        (200, True, None),
        (500, True, None),
        (502, True, None),
        (400, True, None),
        (204, True, Reason.UNPARSEABLE_ANSWER),
        (302, True, Reason.CONTRACT_MISMATCH),
        (415, True, Reason.CONTRACT_MISMATCH),
        (502, False, Reason.GATEWAY_ERROR),
    ],
)
def test_statuses(status: int, xml: bool, reason: Reason | None) -> None:
    trouble = trouble_of_status(status, {}, xml=xml)
    assert (trouble.reason if trouble else None) == reason


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:05:00 GMT"}, None),  # no Date to count from
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


ADAPTER = load_dialect("adapter")


@pytest.mark.parametrize(
    ("operation", "code", "message", "reason"),
    [
        ("create", "0", "Cập nhật thành công", None),
        ("create", " 00 ", None, None),
        ("create", "0", "Hồ sơ ĐÃ TỒN TẠI", Reason.ALREADY_EXISTS),
        ("create", "3", "Mã hồ sơ đã tồn tại", Reason.ALREADY_EXISTS),
        ("create", "-3", "đã tồn tại", Reason.ALREADY_EXISTS),
        ("create", "-3", "lỗi khác", Reason.REJECTED_BY_TARGET),
        ("update", "0", "tệp đã tồn tại", None),
        ("update", "-4", "Hồ sơ không tồn tại", Reason.NOT_FOUND),
        ("create", "-4", "Mã TTHC không tồn tại", Reason.REJECTED_BY_TARGET),
        ("look_up", "-1", "Phiên làm việc không hợp lệ", Reason.SESSION_EXPIRED),
        ("look_up", "0", "Phiên làm việc số 7", None),
        ("create", "-1", "session timeout", Reason.SESSION_EXPIRED),
        ("login", "-2", "Sai mật khẩu", Reason.WRONG_CREDENTIALS),
        ("login", "-7", "Lỗi hệ thống", Reason.REJECTED_BY_TARGET),
        ("create", "", "thành công", Reason.UNPARSEABLE_ANSWER),
        ("create", None, None, Reason.UNPARSEABLE_ANSWER),
    ],
)
def test_answers_of_the_adapter(
    operation: OperationName, code: str | None, message: str | None, reason: Reason | None
) -> None:
    trouble = trouble_of_answer(ADAPTER, operation, code, message)
    assert (trouble.reason if trouble else None) == reason


def test_where_the_text_of_success_is_demanded_a_bare_zero_is_unknown() -> None:
    answer = ADAPTER.answer.model_copy(update={"success_text": "thành công"})
    strict: Dialect = ADAPTER.model_copy(update={"answer": answer})
    assert trouble_of_answer(strict, "create", "0", "Cập nhật thành công") is None
    trouble = trouble_of_answer(strict, "create", "0", "Đã ghi nhận")
    assert trouble is not None
    assert isinstance(judge("create", trouble, sent=True), OutcomeUnknown)


def test_a_refusal_names_the_field_and_not_the_text() -> None:
    trouble = trouble_of_answer(
        ADAPTER, "create", "-9", "TrichYeuHoSo của Trần Thị Mộng Kiều quá dài"
    )
    assert trouble is not None
    assert trouble.detail == "field=TrichYeuHoSo code=-9"


def test_a_code_from_outside_is_told_short_and_plain() -> None:
    trouble = trouble_of_answer(ADAPTER, "create", "Trần Thị <Kiều>\n" + "x" * 100, "")
    assert trouble is not None
    assert len(trouble.detail) < 60
    assert "\n" not in trouble.detail
    assert "ầ" not in trouble.detail


@pytest.mark.parametrize(
    ("code", "steps", "expected"),
    [("-9", 3, Reason.PARTLY_APPLIED), ("-9", 1, Reason.REJECTED_BY_TARGET)],
)
def test_a_refused_chunk(code: str, steps: int, expected: Reason) -> None:
    trouble = trouble_of_answer(ADAPTER, "steps", code, "lỗi", chunk=steps)
    assert trouble is not None
    assert trouble.reason is expected


def test_an_unknown_dossier_has_no_partly_applied_chunk() -> None:
    trouble = trouble_of_answer(ADAPTER, "steps", "-4", "Hồ sơ không tồn tại", chunk=3)
    assert trouble is not None
    assert trouble.reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("create", RejectedError),
        ("look_up", MisconfiguredError),
        ("login", MisconfiguredError),
    ],
)
def test_a_client_fault_parks_a_write_and_stops_a_probe(
    operation: OperationName, kind: type[DeliveryError]
) -> None:
    assert type(judge(operation, trouble_of_fault("Client", ()), sent=True)) is kind
