"""What a trouble means: table *trouble x operation* -> may it have taken effect, and what happens next.

Order of judgement: the transport (was a byte written?), the HTTP status, whether an answer of the table of
elements can be read, whose answer it is, then its code. `TABLE` and `STATUSES` are the whole of it. HTTP 200
can be a failure; a 4xx or 5xx with a readable answer is judged by the answer's code.

Of the real system no answer was ever seen. So every doubt goes to the side on which nothing is sent twice:

- A status that no row names, an answer that cannot be read, HTTP 503 without Retry-After: of a write, unknown.
- HTTP 401 comes from before the work: surely not done. Several tokens refused in a row, and none taken in
  between, are no expired token: access_denied (`token.py`).
- A refusal for its structure (contract_mismatch) parks a write and stops what asks, as at the portal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import aiohttp

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.gov_reporting.elements import Elements, OperationName
from connectors.national_portal.faults import EXCEPTIONS as PORTAL_EXCEPTIONS
from connectors.national_portal.faults import Trouble, retry_after_seconds
from connectors.protocols import Exchange
from schemas.reasons import Reason

__all__ = [
    "EXCEPTIONS",
    "STATUSES",
    "TABLE",
    "Trouble",
    "judge",
    "trouble_of_answer",
    "trouble_of_status",
]

Operation = OperationName | Literal["token"]


class Effect(StrEnum):
    """What kind of operation a trouble met."""

    WRITE = "write"
    READ = "read"  # look-up and inbox: asking again is harmless
    TOKEN = "token"  # noqa: S105 - no secret, a kind


EFFECTS: dict[Operation, Effect] = {
    "create": Effect.WRITE,
    "update": Effect.WRITE,
    "look_up": Effect.READ,
    "inbox": Effect.READ,
    "token": Effect.TOKEN,
}

_T, _U, _R, _M = TransientError, OutcomeUnknown, RejectedError, MisconfiguredError

TABLE: dict[Reason, tuple[type[DeliveryError], type[DeliveryError], type[DeliveryError]]] = {
    # trouble                      write  read  token     U = it may have taken effect
    Reason.CONNECTION_REFUSED: (_T, _T, _T),
    Reason.DNS_FAILURE: (_T, _T, _T),
    Reason.TLS_FAILURE: (_T, _T, _T),
    Reason.CONNECT_TIMEOUT: (_T, _T, _T),
    Reason.NOT_SENT: (_T, _T, _T),
    Reason.SESSION_EXPIRED: (_T, _T, _T),
    Reason.RATE_LIMITED: (_T, _T, _T),
    Reason.TARGET_UNAVAILABLE: (_T, _T, _T),
    Reason.TIMEOUT: (_U, _T, _T),
    Reason.CONNECTION_LOST: (_U, _T, _T),
    Reason.UNPARSEABLE_ANSWER: (_U, _T, _T),
    Reason.FOREIGN_ANSWER: (_U, _T, _T),
    Reason.SERVER_FAULT: (_U, _T, _T),
    Reason.GATEWAY_ERROR: (_U, _T, _T),
    Reason.UNCLASSIFIED_ERROR: (_U, _T, _T),
    Reason.REJECTED_BY_TARGET: (_R, _T, _T),
    Reason.ALREADY_EXISTS: (_R, _T, _T),
    Reason.NOT_FOUND: (_R, _T, _T),
    Reason.REVISION_ORDER: (_R, _T, _T),
    Reason.PERIOD_REFUSED: (_R, _T, _T),
    Reason.FIGURES_REFUSED: (_R, _T, _T),
    Reason.FORM_UNKNOWN: (_R, _T, _T),
    Reason.FIELD_TOO_LONG: (_R, _T, _T),
    Reason.CONTRACT_MISMATCH: (_R, _M, _M),
    Reason.ACCESS_DENIED: (_M, _M, _M),
    Reason.WRONG_CREDENTIALS: (_M, _M, _M),
}

EXCEPTIONS: tuple[tuple[type[BaseException], Reason, Reason], ...] = (
    *PORTAL_EXCEPTIONS,
    # What aiohttp has beside those of its client: of parts, sockets and streams that are not used here.
    (aiohttp.WebSocketError, Reason.NOT_SENT, Reason.UNCLASSIFIED_ERROR),
    (aiohttp.EofStream, Reason.NOT_SENT, Reason.CONNECTION_LOST),
    (aiohttp.BadContentDispositionHeader, Reason.NOT_SENT, Reason.UNPARSEABLE_ANSWER),
    (aiohttp.BadContentDispositionParam, Reason.NOT_SENT, Reason.UNPARSEABLE_ANSWER),
)
"""Reason before any byte was written, and after. The first row that fits decides."""

_COLUMN = {Effect.WRITE: 0, Effect.READ: 1, Effect.TOKEN: 2}


@dataclass(frozen=True, slots=True)
class StatusRow:
    """HTTP statuses from `first` to `last`. `retry_after`, `readable`: only with, only without; None: both."""

    first: int
    last: int
    reason: Reason | None  # None: read the answer
    retry_after: bool | None = None
    readable: bool | None = None
    remedy: str = ""


STATUSES: tuple[StatusRow, ...] = (
    # The first row that fits decides.
    StatusRow(401, 401, Reason.SESSION_EXPIRED),
    StatusRow(429, 429, Reason.RATE_LIMITED),
    StatusRow(503, 503, Reason.TARGET_UNAVAILABLE, retry_after=True),
    StatusRow(407, 407, Reason.ACCESS_DENIED, remedy="the proxy asks for a name"),
    StatusRow(200, 299, None, readable=True),
    StatusRow(400, 599, None, readable=True),
    StatusRow(403, 403, Reason.ACCESS_DENIED, remedy="the platform refuses our client"),
    StatusRow(408, 408, Reason.TIMEOUT),
    StatusRow(413, 413, Reason.FIELD_TOO_LONG, remedy="the packet is too large for the platform"),
    StatusRow(500, 500, Reason.SERVER_FAULT),
    StatusRow(501, 599, Reason.GATEWAY_ERROR),
    StatusRow(300, 499, Reason.CONTRACT_MISMATCH, remedy="check address and elements"),
)


def trouble_of_status(status: int, headers: Mapping[str, str], *, readable: bool) -> Trouble | None:
    """The trouble that a status alone tells, or ``None`` where the answer must be read.

    `readable`: the body is an answer of the table of elements.
    """
    wait = retry_after_seconds(headers)
    for row in STATUSES:
        if (
            row.first <= status <= row.last
            and row.retry_after in (None, wait is not None)
            and row.readable in (None, readable)
        ):
            if row.reason is None:
                return None
            detail = f"http={status}" + (f": {row.remedy}" if row.remedy else "")
            return Trouble(row.reason, detail, retry_after=wait)
    return Trouble(Reason.UNPARSEABLE_ANSWER, f"http={status}")


def trouble_of_answer(
    elements: Elements,
    operation: OperationName,
    status: int,
    code: str | None,
    message: str | None,
) -> Trouble | None:
    """The trouble that an answer's code and text tell, or ``None`` for a yes."""
    spec = elements.answer
    normal = (code or "").strip().casefold()
    text = (message or "").casefold()
    detail = f"code={_printable(code)}"
    if not normal:
        return Trouble(Reason.UNPARSEABLE_ANSWER, "no code in the answer")
    for rule in elements.errors:
        if (
            operation in rule.operations
            and (rule.code is None or rule.code.casefold() == normal)
            and (rule.text is None or rule.text.casefold() in text)
        ):
            return Trouble(rule.reason, detail)
    if operation == "update" and normal in _folded(spec.duplicate_codes):
        return None
    if normal in _folded(spec.success_codes):
        if status < 300:
            return None
        return Trouble(Reason.UNPARSEABLE_ANSWER, f"{detail} http={status}: a yes with a no")
    if status >= 500:
        return Trouble(Reason.SERVER_FAULT, f"{detail} http={status}")
    return Trouble(Reason.REJECTED_BY_TARGET, detail)


def judge(
    operation: Operation, trouble: Trouble, *, sent: bool, exchange: Exchange | None = None
) -> DeliveryError:
    """The error that is raised. `sent`: whether a byte may have been written.

    An unknown outcome needs a byte on the wire: without one, nothing can have happened.
    """
    kind = TABLE[trouble.reason][_COLUMN[EFFECTS[operation]]]
    if kind is OutcomeUnknown and not sent:
        kind = TransientError
    if kind is TransientError:
        return TransientError(
            trouble.reason, trouble.detail, retry_after=trouble.retry_after, exchange=exchange
        )
    return kind(trouble.reason, trouble.detail, exchange=exchange)


def _folded(codes: tuple[str, ...]) -> set[str]:
    return {code.strip().casefold() for code in codes}


def _printable(code: str | None) -> str:
    """A code as it may be told: short and plain, since it comes from outside."""
    plain = "".join(c for c in (code or "")[:40] if c.isascii() and (c.isalnum() or c in "._-"))
    return plain or "(none)"
