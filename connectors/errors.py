"""What a sink may raise, named by what happens next.

    DeliveryError
    ├── TransientError      surely nothing happened there   -> wait, send again
    ├── OutcomeUnknown      it may have happened            -> ask, or park; never simply send again
    ├── RejectedError       the target or our check said no -> park, a person acts
    └── MisconfiguredError  nobody's dossier is at fault    -> stop the flow and page

Every one carries a `Reason` from the closed list and a detail that names fields and remedies, never
content: nothing of a dossier, a person or a secret stands in an error.
"""

from __future__ import annotations

from connectors.protocols import Exchange
from schemas.reasons import Reason


class DeliveryError(Exception):
    """Base of the four. `exchange` holds the bytes of the call where there was one."""

    def __init__(
        self, reason: Reason, detail: str = "", *, exchange: Exchange | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.exchange = exchange


class TransientError(DeliveryError):
    """The target surely did nothing. `retry_after` is in seconds, where the target named one."""

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        retry_after: float | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(reason, detail, exchange=exchange)
        self.retry_after = retry_after


class OutcomeUnknown(DeliveryError):
    """The target may or may not have done it."""


class RejectedError(DeliveryError):
    """Refused, by the target or by our own check before sending. `field` is the wire's field name."""

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        field: str | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(reason, detail, exchange=exchange)
        self.field = field


class MisconfiguredError(DeliveryError):
    """The set-up is wrong (credentials, contract, rights): no dossier can pass until it is mended."""
