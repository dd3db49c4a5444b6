"""What happened, said once: every method logs and counts in one call, so that the two cannot disagree.

`Events` is for the flows; its `deliveries` (`monitoring.delivery_events`) for the engines.

Arguments are ids, codes, reasons, numbers and seconds; never content. Levels go by consequence:

- DEBUG    the normal way, at the first try;
- INFO     the normal way, worth a line: a later success, a settled outcome, a flow that starts;
- WARNING  unexpected, nothing lost, the hub deals with it or has written it down for a person;
- ERROR    an operator must act.

Identical trouble is logged at most `REPEATS` times a minute (the counters miss nothing); the next line
after a silence says how many were `suppressed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from structlog.typing import FilteringBoundLogger

from monitoring.delivery_events import DeliveryEvents
from monitoring.logging import RateLimit
from monitoring.metrics import Flow, FlowState, Metrics, RequestOutcome
from schemas.ledger.model import RestoredPartition
from schemas.reasons import Reason

REPEATS = 5
_PERIOD_SECONDS = 60.0


class Events:
    """Everything the steps report. Never blocks; costs a few microseconds with the log filtered."""

    def __init__(
        self,
        metrics: Metrics,
        logger: FilteringBoundLogger,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = metrics
        self._log = logger
        self._limit = RateLimit(REPEATS, _PERIOD_SECONDS, clock)
        self.deliveries = DeliveryEvents(metrics, logger, self._limit, wall=wall)

    # --- capture

    def notice_captured(self, *, source: str, feed: str, dossier_id: str) -> None:
        """The broker has confirmed one notice."""
        self.metrics.events_processed[Flow.CAPTURE, "captured"].inc()
        self._log.debug("notice_captured", source=source, feed=feed, dossier_id=dossier_id)

    def page_read(
        self, *, source: str, feed: str, notices: int, skipped: int, seconds: float
    ) -> None:
        """One page of a source was read, its notices confirmed and its cursor saved."""
        self.metrics.events_received[Flow.CAPTURE,].inc(notices + skipped)
        self.metrics.events_processed[Flow.CAPTURE, "skipped"].inc(skipped)
        self._log.debug(
            "page_read", source=source, feed=feed, notices=notices, skipped=skipped, seconds=seconds
        )

    def source_unavailable(self, *, source: str, feed: str, detail: str, wait: float) -> None:
        """A source does not answer; the same page is read again after `wait` seconds."""
        self._trouble(
            "source_unavailable", (source, feed), source=source, feed=feed, detail=detail, wait=wait
        )

    # --- intake and ledger

    def batch_received(
        self, *, flow: str, topic: str, partition: int, records: int, newest: float | None
    ) -> None:
        """A flow read records of one partition; `newest` is the last one's timestamp, epoch seconds."""
        self.metrics.events_received[flow,].inc(records)
        if newest is not None:
            self.metrics.last_record[topic, str(partition)].set(newest)

    def event_mapped(self, *, dossier_id: str, event_id: str, kind: str) -> None:
        """The broker has confirmed the event made of a notice."""
        self.metrics.events_processed[Flow.INTAKE, "mapped"].inc()
        self._log.debug("event_mapped", dossier_id=dossier_id, event_id=event_id, kind=kind)

    def dead_lettered(
        self,
        *,
        flow: str,
        reason: Reason,
        topic: str,
        partition: int,
        offset: int,
        dossier_id: str | None = None,
        detail: str = "",
    ) -> None:
        """A record could not be understood; its bytes are kept whole."""
        self.metrics.events_processed[flow, "dead_lettered"].inc()
        self.metrics.dead_letters_open[reason,].inc()
        self._error(
            "dead_lettered",
            (flow, reason, topic),
            flow=flow,
            reason=reason,
            topic=topic,
            partition=partition,
            offset=offset,
            dossier_id=dossier_id,
            detail=detail,
        )

    def dead_letter_write_failed(
        self, *, topic: str, partition: int, offset: int, error: str
    ) -> None:
        """A dead letter could not be written: the process is about to end. `error` is a type's name."""
        self.metrics.dead_letter_writes_failed.inc()
        self._log.error(
            "dead_letter_write_failed",
            topic=topic,
            partition=partition,
            offset=offset,
            error=error,
        )

    def schema_rejected(self, *, flow: str, subject: str, detail: str) -> None:
        """A record names a schema that we do not know, or may not read."""
        self.metrics.schema_rejects[subject,].inc()
        self._error("schema_rejected", (flow, subject), flow=flow, subject=subject, detail=detail)

    def enlisted(
        self,
        *,
        topic: str,
        partition: int,
        events: int,
        duplicates: int,
        overtaken: int,
        seconds: float,
    ) -> None:
        """One transaction took in what these events owe."""
        self.metrics.events_processed[Flow.LEDGER, "enlisted"].inc(events)
        self.metrics.events_processed[Flow.LEDGER, "duplicate"].inc(duplicates)
        self.metrics.events_processed[Flow.LEDGER, "overtaken"].inc(overtaken)
        self._log.debug(
            "enlisted",
            topic=topic,
            partition=partition,
            events=events,
            duplicates=duplicates,
            overtaken=overtaken,
            seconds=seconds,
        )

    def packet_found(self, *, target: str, report_id: str, reason: Reason, detail: str) -> None:
        """A packet's number is wrong: the one before it never came, or it has another content already.

        The second is not sent, although somebody approved it.
        """
        log = self._log.error if reason is Reason.REVISION_CONFLICT else self._log.warning
        log("packet_found", target=target, report_id=report_id, reason=reason, detail=detail)

    def observed(
        self, *, topic: str, partition: int, taken: int, reasons: Collection[str], refused: int
    ) -> None:
        """Indicator observations were judged; those refused are rows that someone can list."""
        self.metrics.events_processed[Flow.LEDGER, "observed"].inc(taken)
        self.metrics.events_processed[Flow.LEDGER, "refused"].inc(refused)
        if refused:
            self._trouble(
                "observations_refused",
                (topic,),
                topic=topic,
                partition=partition,
                refused=refused,
                reasons=sorted(reasons),
            )

    def ledger_unavailable(self, *, flow: str, error: str, wait: float) -> None:
        """The ledger does not answer; tried again after `wait` seconds. `error` is a type's name."""
        self._trouble("ledger_unavailable", (flow, error), flow=flow, error=error, wait=wait)

    # --- receive

    def request_answered(
        self, *, outcome: RequestOutcome, reason: str, taken: int = 0, refused: int = 0
    ) -> None:
        """A request to the intake of observations was answered; `reason` is a word of a closed list, or ""."""
        self.metrics.requests[outcome,].inc()
        self.metrics.events_received[Flow.RECEIVE,].inc(taken + refused)
        self.metrics.events_processed[Flow.RECEIVE, "observed"].inc(taken)
        self.metrics.events_processed[Flow.RECEIVE, "refused"].inc(refused)
        if outcome is RequestOutcome.TAKEN:
            self._log.debug("request_answered", outcome=outcome, taken=taken)
            return
        tell = self._error if outcome is RequestOutcome.FAILED else self._trouble
        tell("request_answered", (outcome, reason), outcome=outcome, reason=reason, refused=refused)

    # --- restore

    def restore_began(self, *, why: str, generation: int) -> None:
        """The ledger is another database, or an older one: what the lost time sent is to be found out."""
        self._log.warning("restore_began", why=why, generation=generation)

    def restore_finished(self, *, receipts: int, unread: int, partitions: int, held: int) -> None:
        """Every partition knows how far it must read. `held`: its log is lost too, a person must act.

        `receipts` that the ledger lacked prove deliveries; `unread` could not be understood.
        """
        log = self._log.error if held else self._log.warning
        log("restore_finished", receipts=receipts, unread=unread, partitions=partitions, held=held)

    def partition_restored(self, restored: RestoredPartition) -> None:
        """A partition has been read to where its log ended; its dossiers may move again.

        `steps`: those of which the target must tell, or a person (`outcome_unknown`).
        """
        self._log.warning(
            "partition_restored",
            topic=restored.topic,
            partition=restored.partition,
            proved=restored.proved,
            dossiers=restored.dossiers,
            steps=restored.steps,
        )

    # --- receipts

    def receipt_published(self, *, receipts: int) -> None:
        """The broker has confirmed so many receipts."""
        self.metrics.events_processed[Flow.RECEIPTS, "published"].inc(receipts)
        self._log.debug("receipt_published", receipts=receipts)

    # --- mails

    def mail_sent(self, *, about: str, refused: int) -> None:
        """The mail server has taken the day's mail about these units; `refused` addresses it did not want."""
        log = self._log.warning if refused else self._log.info
        log("mail_sent", about=about, refused=refused)

    def mail_failed(self, *, about: str, why: str, wait: float | None) -> None:
        """A mail was not sent; tried again after `wait` seconds, or (None) never: it may have been taken."""
        self._error("mail_failed", (about,), about=about, why=why, wait=wait)

    def mails_given_up(self, *, day: str, why: str) -> None:
        """The working day is over and not every mail of it went out. `why` is the last trouble."""
        self._log.error("mails_given_up", day=day, why=why)

    # --- reports

    def report_opened(self, *, report_id: str, window: str, due_on: str) -> None:
        """A period has begun; it keeps this window and this due date."""
        self._log.info("report_opened", report_id=report_id, window=window, due_on=due_on)

    def report_period_refused(self, *, regime: str, period: str, fault: str, other: str) -> None:
        """A period cannot be opened until somebody sets it right; it is noted in the ledger."""
        self._error(
            "report_period_refused",
            (regime, period, fault),
            regime=regime,
            period=period,
            fault=fault,
            other=other,
        )

    def report_frozen(
        self, *, report_id: str, snapshot_hash: str, imbalances: int, provisional: int
    ) -> None:
        """The figures of a period were frozen; `imbalances` keep the report from being sent."""
        log = self._log.error if imbalances else self._log.info
        log(
            "report_frozen",
            report_id=report_id,
            snapshot_hash=snapshot_hash,
            imbalances=imbalances,
            provisional=provisional,
        )

    def report_submitted(self, *, report_id: str, revision: int) -> None:
        """An approved report was handed over by the hub itself."""
        self._log.info("report_submitted", report_id=report_id, revision=revision)

    def report_not_submitted(self, *, report_id: str, reason: str) -> None:
        """An approved report waits for a person; `reason` is a word of a closed list."""
        self._error("report_not_submitted", (report_id, reason), report_id=report_id, reason=reason)

    def reports_published(self, *, packets: int, at: float) -> None:
        """The broker has confirmed so many packets, at `at`, seconds since the epoch."""
        self.metrics.events_processed[Flow.REPORTING, "published"].inc(packets)
        self.metrics.report_published.set(at)
        self._log.info("reports_published", packets=packets)

    def report_packet_received(self, *, outcome: str, packet_id: str, kind: str) -> None:
        """A packet of the reporting system was dealt with; `outcome` is one of `FLOW_OUTCOMES`."""
        self.metrics.events_processed[Flow.REPORTING, outcome].inc()
        self._log.info("report_packet_received", outcome=outcome, packet_id=packet_id, kind=kind)

    def report_packet_refused(self, *, packet_id: str, reason: str, detail: str) -> None:
        """A packet of the reporting system was not taken; it is kept, sealed, and can be listed."""
        self.metrics.events_processed[Flow.REPORTING, "refused"].inc()
        self._log.error("report_packet_refused", packet_id=packet_id, reason=reason, detail=detail)

    def report_inbox_waits(self, *, reason: str, wait: float) -> None:
        """Nothing can be fetched from the reporting system now; it is tried again after `wait` seconds."""
        self._error("report_inbox_waits", (reason,), reason=reason, wait=wait)

    # --- flows

    def reckoned(self, *, dossiers: int) -> None:
        """So many dossiers' figures were reckoned anew."""
        self.metrics.events_processed[Flow.FIGURES, "reckoned"].inc(dossiers)
        self._log.debug("figures_reckoned", dossiers=dossiers)

    def flow_started(self, *, flow: str) -> None:
        """A flow moves records."""
        self.metrics.set_flow_state(flow, FlowState.RUNNING)
        self._log.info("flow_started", flow=flow)

    def flow_waiting(self, *, flow: str, waits_for: str) -> None:
        """A flow waits for something outside; `flow_started` says when it goes on."""
        self.metrics.set_flow_state(flow, FlowState.WAITING)
        self._trouble("flow_waiting", (flow, waits_for), flow=flow, waits_for=waits_for)

    def flow_stopped(self, *, flow: str, reason: str) -> None:
        """A flow has stopped in order: asked to, or its partitions went elsewhere."""
        self.metrics.set_flow_state(flow, FlowState.STOPPED)
        self._log.info("flow_stopped", flow=flow, reason=reason)

    def flow_paged(self, *, flow: str, reason: str, detail: str) -> None:
        """A flow has stopped and only a person can make it go on. `detail` names the remedy."""
        self.metrics.set_flow_state(flow, FlowState.PAGED)
        self._log.error("flow_paged", flow=flow, reason=reason, detail=detail)

    def rebalanced(self, *, flow: str, topic: str, partitions: Iterable[int]) -> None:
        """A flow was assigned these partitions."""
        self.metrics.rebalances[flow,].inc()
        self._log.info("rebalanced", flow=flow, topic=topic, partitions=sorted(partitions))

    # --- within

    def _trouble(self, event: str, key: tuple[str, ...], **facts: object) -> None:
        suppressed = self._limit.allow((event, *key))
        if suppressed is not None:
            self._log.warning(event, suppressed=suppressed, **facts)

    def _error(self, event: str, key: tuple[str, ...], **facts: object) -> None:
        suppressed = self._limit.allow((event, *key))
        if suppressed is not None:
            self._log.error(event, suppressed=suppressed, **facts)
