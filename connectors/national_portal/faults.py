"""What a trouble means: table *trouble x operation* -> may it have taken effect, and what happens next.

Order of judgement: the transport (was a byte written?), the HTTP status, the content type, the Fault,
then the body's code. `TABLE` is the whole of it; everything else here finds the row.

Decisions that the contract leaves open:

- A Fault with the code Client says that the message was refused before it was worked on. On a write it
  parks that one dossier (`RejectedError`), so that one odd dossier cannot stop a province; on a login,
  look-up or catalogue read, which hold nothing of a dossier, it is the contract that does not fit
  (`MisconfiguredError`): the probe finds a general mismatch that way.
- HTTP 503 without Retry-After comes from something between us and the portal that may have forwarded the
  call: a write is then unknown, not undone.
- A login refused with a code and text in no row of the dialect is asked again: only words that the dialect
  knows stop the flow as wrong_credentials.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from enum import StrEnum

import aiohttp

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.national_portal.dialect import (
    Dialect,
    FaultRule,
    OperationName,
    normal_code,
)
from connectors.protocols import Exchange
from schemas.reasons import Reason


class Effect(StrEnum):
    """What kind of operation a trouble met."""

    WRITE = "write"  # create, update, steps
    READ = "read"  # look-up and catalogues: asking again is harmless
    LOGIN = "login"


EFFECTS: dict[OperationName, Effect] = {
    "login": Effect.LOGIN,
    "create": Effect.WRITE,
    "update": Effect.WRITE,
    "steps": Effect.WRITE,
    "look_up": Effect.READ,
    "procedures": Effect.READ,
    "procedure": Effect.READ,
    "agencies": Effect.READ,
}

_T, _U, _R, _M = TransientError, OutcomeUnknown, RejectedError, MisconfiguredError

TABLE: dict[Reason, tuple[type[DeliveryError], type[DeliveryError], type[DeliveryError]]] = {
    # trouble                      write  read  login     U = it may have taken effect
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
    Reason.PARTLY_APPLIED: (_U, _T, _T),
    Reason.UNCLASSIFIED_ERROR: (_U, _T, _T),
    Reason.REJECTED_BY_TARGET: (_R, _T, _T),
    Reason.ALREADY_EXISTS: (_R, _T, _T),
    Reason.NOT_FOUND: (_R, _T, _T),
    Reason.FIELD_MISSING: (_R, _T, _T),
    Reason.FIELD_TOO_LONG: (_R, _T, _T),
    Reason.FIELD_INVALID: (_R, _T, _T),
    Reason.CONTRACT_MISMATCH: (_R, _M, _M),
    Reason.ACCESS_DENIED: (_M, _M, _M),
    Reason.WRONG_CREDENTIALS: (_M, _M, _M),
}

_COLUMN = {Effect.WRITE: 0, Effect.READ: 1, Effect.LOGIN: 2}

EXCEPTIONS: tuple[tuple[type[BaseException], Reason, Reason], ...] = (
    # The first row that fits decides: reason before any byte was written, and after.
    (aiohttp.ClientConnectorDNSError, Reason.DNS_FAILURE, Reason.CONNECTION_LOST),
    (socket.gaierror, Reason.DNS_FAILURE, Reason.CONNECTION_LOST),
    (socket.herror, Reason.DNS_FAILURE, Reason.CONNECTION_LOST),
    (aiohttp.ClientSSLError, Reason.TLS_FAILURE, Reason.CONNECTION_LOST),
    (ssl.SSLError, Reason.TLS_FAILURE, Reason.CONNECTION_LOST),
    (aiohttp.ServerFingerprintMismatch, Reason.TLS_FAILURE, Reason.CONNECTION_LOST),
    (aiohttp.ClientHttpProxyError, Reason.TARGET_UNAVAILABLE, Reason.GATEWAY_ERROR),
    (aiohttp.ClientConnectorError, Reason.CONNECTION_REFUSED, Reason.CONNECTION_LOST),
    (TimeoutError, Reason.CONNECT_TIMEOUT, Reason.TIMEOUT),
    (ConnectionRefusedError, Reason.CONNECTION_REFUSED, Reason.CONNECTION_LOST),
    (aiohttp.ClientPayloadError, Reason.NOT_SENT, Reason.CONNECTION_LOST),
    (aiohttp.ClientResponseError, Reason.NOT_SENT, Reason.UNPARSEABLE_ANSWER),
    (aiohttp.InvalidURL, Reason.NOT_SENT, Reason.UNCLASSIFIED_ERROR),
    (aiohttp.ClientError, Reason.NOT_SENT, Reason.CONNECTION_LOST),
    (aiohttp.WSMessageTypeError, Reason.NOT_SENT, Reason.UNPARSEABLE_ANSWER),
    (aiohttp.http_exceptions.HttpProcessingError, Reason.NOT_SENT, Reason.UNPARSEABLE_ANSWER),
    (OSError, Reason.NOT_SENT, Reason.CONNECTION_LOST),
    (EOFError, Reason.NOT_SENT, Reason.CONNECTION_LOST),
    (asyncio.LimitOverrunError, Reason.NOT_SENT, Reason.UNPARSEABLE_ANSWER),
    (asyncio.InvalidStateError, Reason.NOT_SENT, Reason.UNCLASSIFIED_ERROR),
    (asyncio.QueueEmpty, Reason.NOT_SENT, Reason.UNCLASSIFIED_ERROR),
    (asyncio.QueueFull, Reason.NOT_SENT, Reason.UNCLASSIFIED_ERROR),
    (RuntimeError, Reason.NOT_SENT, Reason.UNCLASSIFIED_ERROR),
)


class Trouble(Exception):
    """Something went wrong with one call, not yet judged by the operation it met."""

    def __init__(
        self, reason: Reason, detail: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


def judge(
    operation: OperationName, trouble: Trouble, *, sent: bool, exchange: Exchange | None = None
) -> DeliveryError:
    """The error that the sink raises. `sent`: whether a byte may have been written.

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


def trouble_of_exception(
    exc: BaseException,
    *,
    sent: bool,
    rows: Sequence[tuple[type[BaseException], Reason, Reason]] = EXCEPTIONS,
) -> Trouble:
    """The trouble behind an exception. Only its class is told: its text may hold content."""
    for kind, before, after in rows:
        if isinstance(exc, kind):
            return Trouble(after if sent else before, f"exception={type(exc).__name__}")
    return Trouble(Reason.UNCLASSIFIED_ERROR, f"exception={type(exc).__name__}")


def trouble_of_status(status: int, headers: Mapping[str, str], *, xml: bool) -> Trouble | None:
    """The trouble that an HTTP status alone tells, or ``None`` where the body must be read.

    `xml`: the body says it is XML, so that a Fault may stand in it.
    """
    wait = retry_after_seconds(headers)
    detail = f"http={status}"
    if status == 429:
        return Trouble(Reason.RATE_LIMITED, detail, retry_after=wait)
    if status == 503 and wait is not None:
        return Trouble(Reason.TARGET_UNAVAILABLE, detail, retry_after=wait)
    if status in (401, 403, 407):
        return Trouble(Reason.ACCESS_DENIED, f"{detail}: the gateway refuses our account")
    if xml and (status == 200 or status == 400 or status >= 500):
        return None
    if status == 200:
        return Trouble(Reason.UNPARSEABLE_ANSWER, f"{detail} content type is no XML")
    if status == 408:
        return Trouble(Reason.TIMEOUT, detail)
    if status == 500:
        return Trouble(Reason.SERVER_FAULT, detail)
    if status > 500:
        return Trouble(Reason.GATEWAY_ERROR, detail)
    if 300 <= status < 500:
        return Trouble(
            Reason.CONTRACT_MISMATCH, f"{detail}: check the address and the WSDL in the settings"
        )
    return Trouble(Reason.UNPARSEABLE_ANSWER, detail)


def trouble_of_fault(code: str | None, rules: Sequence[FaultRule]) -> Trouble:
    """The trouble that a SOAP Fault tells by its code, given without prefix ("Client", "Server.x")."""
    detail = f"fault={_printable(code)}"
    for rule in rules:
        if code is not None and (
            code.startswith(rule.code[:-1]) if rule.code.endswith("*") else code == rule.code
        ):
            return Trouble(rule.reason, detail)
    if code is not None and code.split(".")[0] in (
        "Client",
        "Sender",
        "VersionMismatch",
        "MustUnderstand",
    ):
        return Trouble(Reason.CONTRACT_MISMATCH, detail)
    return Trouble(Reason.SERVER_FAULT, detail)


def trouble_of_answer(
    dialect: Dialect,
    operation: OperationName,
    code: str | None,
    message: str | None,
    *,
    chunk: int = 1,
) -> Trouble | None:
    """The trouble that an answer's code and text tell, or ``None`` for a yes.

    `chunk`: how many steps of the call may stand although it was refused: its steps where chunks are not
    atomic, else 1.
    """
    normal = normal_code(code)
    text = (message or "").casefold()
    success = normal in dialect.answer.success_codes
    detail = f"code={_printable(normal)}"
    for rule in dialect.errors:
        if (
            operation in rule.operations
            and (not success or rule.despite_success)
            and (rule.code is None or normal_code(rule.code) == normal)
            and (rule.text is None or rule.text.casefold() in text)
        ):
            if rule.reason is Reason.WRONG_CREDENTIALS:
                detail += ": check username and password in the settings"
            return _partly(operation, Trouble(rule.reason, detail), chunk)
    if success:
        wanted = dialect.answer.success_text
        if wanted is None or wanted.casefold() in text:
            return None
        return Trouble(Reason.UNPARSEABLE_ANSWER, f"{detail}: a yes without the text of success")
    if normal is None:
        return Trouble(Reason.UNPARSEABLE_ANSWER, "no code in the answer")
    named = _named_field(dialect, message or "")
    detail = f"field={named} {detail}" if named else detail
    return _partly(operation, Trouble(Reason.REJECTED_BY_TARGET, detail), chunk)


_NOTHING_WRITTEN = frozenset(
    {
        Reason.NOT_FOUND,
        Reason.SESSION_EXPIRED,
        Reason.ACCESS_DENIED,
        Reason.RATE_LIMITED,
        Reason.TARGET_UNAVAILABLE,
        Reason.CONTRACT_MISMATCH,
    }
)
"""Refusals that are spoken before the first step of a chunk is looked at."""


def _partly(operation: OperationName, trouble: Trouble, chunk: int) -> Trouble:
    if operation == "steps" and chunk > 1 and trouble.reason not in _NOTHING_WRITTEN:
        return Trouble(Reason.PARTLY_APPLIED, f"{trouble.detail} steps={chunk}")
    return trouble


def _named_field(dialect: Dialect, message: str) -> str | None:
    """The wire field that a refusal names, if one. The text itself may hold content and is not told."""
    names = [
        spec.path for record in (dialect.dossier, dialect.step) for spec in record.fields.values()
    ]
    found = [name for name in names if name.rsplit(".", 1)[-1] in message]
    return max(found, key=len) if found else None


def _printable(code: str | None) -> str:
    """A code as it may be told: short and plain, since it comes from outside."""
    if not code:
        return "(none)"
    plain = "".join(c for c in code[:40] if c.isascii() and (c.isalnum() or c in "._-"))
    return plain or "(unreadable)"


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds. A date counts from the answer's own Date, so that no clock is read."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):
        return None
