"""What happens to deliveries, said once by the engine of each target: logged and counted in one call.

Levels and rate limits are those of `monitoring.events`.
"""

from __future__ import annotations

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from monitoring.logging import RateLimit
from monitoring.metrics import CircuitState, FlowState, Metrics, engine_flow
from schemas.ledger.model import AttemptKind, Outcome
from schemas.reasons import Reason

# Nobody's dossier is at fault and waiting does not help: an operator must act.
MISCONFIGURED = frozenset(
    {Reason.WRONG_CREDENTIALS, Reason.ACCESS_DENIED, Reason.CONTRACT_MISMATCH}
)


class DeliveryEvents:
    """Everything an engine reports. Never blocks."""

    def __init__(
        self,
        metrics: Metrics,
        logger: FilteringBoundLogger,
        limit: RateLimit,
        *,
        wall: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._log = logger
        self._limit = limit
        self._wall = wall

    def attempt_ended(
        self,
        target: str,
        kind: AttemptKind,
        dossier_id: str,
        outcome: Outcome,
        reason: Reason | None,
        seconds: float,
        detail: str,
    ) -> None:
        """One call came to its end: with a receipt, a refusal, surely nothing done, or unknown."""
        self._metrics.attempts[target, outcome].inc()
        self._metrics.call_duration[target,].observe(seconds)
        if outcome is Outcome.DELIVERED:
            self._log.debug(
                "attempt_delivered",
                target=target,
                kind=kind,
                dossier_id=dossier_id,
                seconds=seconds,
            )
            return
        suppressed = self._limit.allow(("attempt", target, outcome, reason))
        if suppressed is None:
            return
        log = self._log.error if reason in MISCONFIGURED else self._log.warning
        log(
            f"attempt_{outcome}",
            target=target,
            kind=kind,
            dossier_id=dossier_id,
            reason=reason,
            seconds=seconds,
            detail=detail,
            suppressed=suppressed,
        )

    def delivered(self, target: str, dossier_id: str, count: int, latency: float) -> None:
        """So many deliveries of one dossier are settled by a receipt or by the target's truth.

        `latency` is seconds from the oldest one's effect at its source; negative: not known.
        """
        self._metrics.last_success[target,].set(self._wall())
        if latency >= 0:
            self._metrics.end_to_end[target,].observe(latency)
        self._log.debug(
            "delivered", target=target, dossier_id=dossier_id, deliveries=count, latency=latency
        )

    def parked(self, target: str, dossier_id: str, reason: Reason | None, detail: str) -> None:
        """A delivery now waits for a person or a mapping. `hub_parked` is counted in the ledger."""
        suppressed = self._limit.allow(("parked", target, reason, detail))
        if suppressed is not None:
            self._log.warning(
                "parked",
                target=target,
                dossier_id=dossier_id,
                reason=reason,
                detail=detail,
                suppressed=suppressed,
            )

    def found(self, target: str, dossier_id: str, reason: Reason, detail: str) -> None:
        """A target holds something against our belief: a late effect, or what could not be mended."""
        self._metrics.late_effects[target, reason].inc()
        suppressed = self._limit.allow(("found", target, reason))
        if suppressed is not None:
            self._log.warning(
                "found",
                target=target,
                dossier_id=dossier_id,
                reason=reason,
                detail=detail,
                suppressed=suppressed,
            )

    def asked(self, target: str, dossier_id: str, present: bool | None, reason: str) -> None:
        """The target was asked what it holds of a dossier; ``None``: it gave no answer."""
        result = "failed" if present is None else "present" if present else "absent"
        self._metrics.lookups[target, result].inc()
        suppressed = self._limit.allow(("asked", target, result, reason))
        if suppressed is not None:
            log = self._log.warning if present is None else self._log.info
            log(
                "asked",
                target=target,
                dossier_id=dossier_id,
                result=result,
                reason=reason,
                suppressed=suppressed,
            )

    def in_flight(self, target: str, calls: int) -> None:
        """So many calls to the target wait for their answer."""
        self._metrics.in_flight[target,].set(calls)

    def circuit_changed(self, target: str, is_open: bool, reason: Reason | None) -> None:
        """Open: the target is in trouble and nothing goes out but a probe. Closed: it answers again."""
        flow = engine_flow(target)
        if not is_open:
            self._metrics.set_circuit_state(target, CircuitState.CLOSED)
            self._metrics.set_flow_state(flow, FlowState.RUNNING)
            self._log.info("circuit_closed", target=target)
            return
        self._metrics.set_circuit_state(target, CircuitState.OPEN)
        if reason in MISCONFIGURED:
            self._metrics.set_flow_state(flow, FlowState.PAGED)
            self._log.error("circuit_opened", target=target, reason=reason)
        else:
            self._metrics.set_flow_state(flow, FlowState.WAITING)
            self._log.warning("circuit_opened", target=target, reason=reason)

    def ledger_unavailable(self, target: str) -> None:
        """The ledger does not answer an engine, which waits and tries again."""
        suppressed = self._limit.allow(("ledger_unavailable", target))
        if suppressed is not None:
            self._log.warning("ledger_unavailable", flow=engine_flow(target), suppressed=suppressed)

    def started(self, target: str) -> None:
        """The engine of a target looks for work."""
        self._metrics.set_flow_state(engine_flow(target), FlowState.RUNNING)
        self._log.info("flow_started", flow=engine_flow(target))

    def stopped(self, target: str) -> None:
        """The engine of a target has stopped; every call in flight is settled, or known to be open."""
        self._metrics.set_flow_state(engine_flow(target), FlowState.STOPPED)
        self._log.info("flow_stopped", flow=engine_flow(target))
