"""Every metric of the hub, in one file.

Base units; counters end in ``_total``; a point in time is a timestamp, never a "time since". Labels come
from closed lists only (flows, targets, states, reasons, code lists, subjects), so that no dossier,
person, address or text can become one, and every series that those lists make possible stands at zero
from the start: a rate exists before the first failure. A timestamp of 0 means "not since the start".

A label value outside its list is counted under ``other``: a mistake of ours must show, but not stop a
delivery. Steps do not use this module: they call `monitoring.events`, which logs and counts in one act.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

from schemas.dossier.mappings import CodeList
from schemas.ledger.model import OPEN_STATES, Outcome, TargetCounts
from schemas.reasons import Reason
from schemas.reports.states import State

# Otherwise every counter has a second series that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types all but this

OTHER = "other"

# A SOAP call: its total timeout is 10 s by default, and may be set up to two minutes.
CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# From the step in the one-stop system to the target's receipt: seconds on a good day, hours in an outage.
END_TO_END_BUCKETS = (
    0.5,
    1,
    2,
    5,
    10,
    30,
    60,
    120,
    300,
    900,
    1800,
    3600,
    7200,
    14400,
    28800,
    86400,
)


class Flow(StrEnum):
    """The parts that move records. Each target's engine is a flow of its own: see `engine_flow`."""

    CAPTURE = "capture"
    INTAKE = "intake"
    LEDGER = "ledger"
    RECEIPTS = "receipts"
    FIGURES = "figures"
    REPORTING = "reporting"
    RECEIVE = "receive"  # over HTTP; every other flow moves what a topic or the ledger holds


def engine_flow(target: str) -> str:
    """The flow name of the engine that delivers to `target`."""
    return f"deliver_{target}"


class FlowState(StrEnum):
    """What a flow does now. A flow in no state does not run in this process, or has not begun."""

    RUNNING = "running"
    WAITING = "waiting"  # for something outside: a source, the ledger, a target in trouble
    STOPPED = "stopped"  # in order
    PAGED = "paged"  # stopped, and a person must act


class CircuitState(StrEnum):
    """Whether calls go out to a target."""

    CLOSED = "closed"
    OPEN = "open"  # only a probe does


# What becomes of a record in each flow.
FLOW_OUTCOMES: Mapping[Flow, tuple[str, ...]] = {
    Flow.CAPTURE: ("captured", "skipped"),
    Flow.INTAKE: ("mapped", "dead_lettered"),
    Flow.LEDGER: ("enlisted", "duplicate", "overtaken", "dead_lettered", "observed", "refused"),
    Flow.RECEIPTS: ("published",),
    Flow.FIGURES: ("reckoned",),
    Flow.REPORTING: ("published", "defined", "answered", "known", "noted", "refused"),
    Flow.RECEIVE: ("observed", "refused"),
}


class RequestOutcome(StrEnum):
    """How a request to the intake of observations was answered."""

    TAKEN = "taken"
    NOT_TAKEN = "not_taken"  # faults in what it says
    NOT_SIGNED = "not_signed"
    UNFIT = "unfit"  # path, method, kind, length or pace
    BUSY = "busy"
    UNAVAILABLE = "unavailable"  # the ledger did not answer
    FAILED = "failed"  # a mistake of ours


# What a target answers when asked about a dossier; `failed`: it gave no answer.
LOOKUP_RESULTS = ("present", "absent", "failed")

# What a verification finds; what could not be mended is another reason, and counted as `other`.
LATE_EFFECTS = (Reason.LATE_CREATE, Reason.LATE_STATE, Reason.LATE_STEP, Reason.STEP_TWICE)

M = TypeVar("M", bound=MetricWrapperBase)


class Series(Generic[M]):
    """The children of one metric, bound once. A value outside the lists gives the ``other`` child."""

    def __init__(self, metric: M, combinations: Iterable[tuple[str, ...]]) -> None:
        self._children: dict[tuple[str, ...], M] = {
            labels: metric.labels(*labels) for labels in combinations
        }
        self._metric = metric

    def __getitem__(self, labels: tuple[str, ...]) -> M:
        child = self._children.get(labels)
        if child is not None:
            return child
        return self._metric.labels(*(OTHER for _ in labels))

    def items(self) -> Iterator[tuple[tuple[str, ...], M]]:
        """The expected series, by their label values."""
        return iter(self._children.items())


class Metrics:
    """All metrics of one process, in a registry of their own.

    `targets` are the outside systems delivered to, `topics` maps each consumed topic to its number of
    partitions, `subjects` are the schema subjects in use, `certificates` the names of those watched.
    """

    def __init__(
        self,
        *,
        targets: Sequence[str],
        version: str,
        topics: Mapping[str, int] | None = None,
        subjects: Sequence[str] = (),
        certificates: Sequence[str] = (),
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.targets = tuple(targets)
        flows = (*Flow, *(engine_flow(target) for target in targets))
        partitions = [
            (topic, str(partition))
            for topic, count in (topics or {}).items()
            for partition in range(count)
        ]
        by_target = [(target,) for target in targets]
        by_flow = [(flow,) for flow in flows]

        def pairs(left: Iterable[str], right: Iterable[str]) -> list[tuple[str, ...]]:
            seconds = list(right)
            return [(first, second) for first in left for second in seconds]

        # --- records through the flows
        self.events_received = self._counter(
            "hub_events_received_total", "Records read by a flow.", ["flow"], by_flow
        )
        self.events_processed = self._counter(
            "hub_events_processed_total",
            "Records that a flow has finished with.",
            ["flow", "outcome"],
            [(flow, outcome) for flow, all_ in FLOW_OUTCOMES.items() for outcome in all_],
        )
        self.last_record = self._gauge(
            "hub_last_record_timestamp_seconds",
            "Time of the newest record read from a partition.",
            ["topic", "partition"],
            partitions,
        )
        self.consumer_lag = self._gauge(
            "hub_consumer_lag_records",
            "Records in a partition that the ledger's position has not passed.",
            ["topic", "partition"],
            partitions,
        )
        self.rebalances = self._counter(
            "hub_rebalances_total", "Partition assignments of a flow.", ["flow"], by_flow
        )
        self.flow_state = self._gauge(
            "hub_flow_state",
            "1 for the state a flow is in, 0 for the others.",
            ["flow", "state"],
            pairs(flows, FlowState),
        )
        self.schema_rejects = self._counter(
            "hub_schema_rejects_total",
            "Records refused because of their schema.",
            ["subject"],
            [(subject,) for subject in subjects],
        )
        self.requests = self._counter(
            "hub_requests_total",
            "Requests to the intake of observations, by how they were answered.",
            ["outcome"],
            [(outcome,) for outcome in RequestOutcome],
        )

        # --- deliveries
        self.attempts = self._counter(
            "hub_delivery_attempts_total",
            "Calls made to a target, by how they ended.",
            ["target", "result"],
            pairs(targets, Outcome),
        )
        self.lookups = self._counter(
            "hub_lookups_total",
            "Questions to a target whether it holds a dossier, by its answer.",
            ["target", "result"],
            pairs(targets, LOOKUP_RESULTS),
        )
        self.late_effects = self._counter(
            "hub_late_effects_total",
            "What verifications found at a target: effects later than the target's bound.",
            ["target", "kind"],
            pairs(targets, LATE_EFFECTS),
        )
        self.call_duration = self._histogram(
            "hub_delivery_duration_seconds",
            "Time of one call to a target.",
            ["target"],
            by_target,
            CALL_BUCKETS,
        )
        self.end_to_end = self._histogram(
            "hub_end_to_end_latency_seconds",
            "From the moment a step took effect at its source to the target's receipt.",
            ["target"],
            by_target,
            END_TO_END_BUCKETS,
        )
        self.in_flight = self._gauge(
            "hub_in_flight", "Calls to a target that wait for their answer.", ["target"], by_target
        )
        self.last_success = self._gauge(
            "hub_last_success_timestamp_seconds",
            "When a target last gave a receipt.",
            ["target"],
            by_target,
        )
        self.circuit_state = self._gauge(
            "hub_circuit_state",
            "1 for the state a target's circuit is in, 0 for the others.",
            ["target", "state"],
            pairs(targets, CircuitState),
        )

        # --- what the ledger holds
        self.open_deliveries = self._gauge(
            "hub_open_deliveries",
            "Deliveries not yet at an end.",
            ["target", "state"],
            pairs(targets, sorted(OPEN_STATES)),
        )
        self.oldest_open = self._gauge(
            "hub_oldest_open_timestamp_seconds",
            "When the oldest delivery that waits only for the hub took effect; 0 = there is none.",
            ["target"],
            by_target,
        )
        self.parked = self._gauge(
            "hub_parked",
            "Dossiers that wait for a person or a mapping.",
            ["target", "reason"],
            pairs(targets, Reason),
        )
        self.dead_letters_open = self._gauge(
            "hub_dead_letters_open",
            "Dead letters that nobody has dealt with.",
            ["reason"],
            [(reason,) for reason in Reason],
        )
        self.unmapped = self._gauge(
            "hub_mapping_unmapped",
            "Dossiers parked because a code has no mapping.",
            ["codelist"],
            [(codelist,) for codelist in CodeList],
        )

        # --- the rates: one process tells them, and what is not known has no sample
        self.rate_numerator = self._told(
            "hub_rate_numerator", "Dossiers that count for a rate.", ["rate", "period"]
        )
        self.rate_denominator = self._told(
            "hub_rate_denominator", "Dossiers that a rate is counted over.", ["rate", "period"]
        )
        self.rate_ratio = self._told(
            "hub_rate_ratio", "A rate of this month by agency, 0 to 1.", ["rate", "agency"]
        )
        self.figures = self._told(
            "hub_figures",
            "Dossiers by what their figures are worth; due: to be reckoned.",
            ["standing"],
        )
        self.rates_counted = Gauge(
            "hub_rates_counted_timestamp_seconds",
            "When this process last counted the rates; 0: another one does.",
            registry=self.registry,
        )

        # --- periodic reports: one process tells them
        self.reports = self._gauge(
            "hub_reports",
            "Reports by the state of their newest figures.",
            ["state"],
            [(state,) for state in State],
        )
        self.report_due = self._told(
            "hub_report_due_timestamp_seconds",
            "End of the day by which the next report of a regime that was not sent is due.",
            ["regime"],
        )
        self.report_open_revisions = Gauge(
            "hub_report_open_revisions",
            "Reports whose figures would be others today, or whose next revision is under way.",
            registry=self.registry,
        )
        self.report_periods_refused = Gauge(
            "hub_report_periods_refused",
            "Periods that cannot be opened until somebody sets them right.",
            registry=self.registry,
        )
        self.report_published = Gauge(
            "hub_report_last_success_timestamp_seconds",
            "When a report's packets were last put on Kafka.",
            registry=self.registry,
        )
        self.reports_looked_at = Gauge(
            "hub_reports_looked_at_timestamp_seconds",
            "When this process last looked after the reports; 0: another one does.",
            registry=self.registry,
        )

        # --- the hub itself
        self.dead_letter_writes_failed = Counter(
            "hub_dead_letter_writes_failed_total",
            "Dead letters that could not be written.",
            registry=self.registry,
        )
        self.certificate_expiry = self._gauge(
            "hub_certificate_expiry_timestamp_seconds",
            "When a certificate expires.",
            ["name"],
            [(name,) for name in certificates],
        )
        Gauge("hub_build_info", "1, with the version.", ["version"], registry=self.registry).labels(
            version
        ).set(1)
        ProcessCollector(registry=self.registry)

        for target in targets:
            self.set_circuit_state(target, CircuitState.CLOSED)

    def _counter(
        self, name: str, text: str, labels: Sequence[str], series: Iterable[tuple[str, ...]]
    ) -> Series[Counter]:
        return Series(Counter(name, text, labels, registry=self.registry), series)

    def _gauge(
        self, name: str, text: str, labels: Sequence[str], series: Iterable[tuple[str, ...]]
    ) -> Series[Gauge]:
        return Series(Gauge(name, text, labels, registry=self.registry), series)

    def _told(self, name: str, text: str, labels: Sequence[str]) -> Gauge:
        """Without any series until something is told."""
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        series: Iterable[tuple[str, ...]],
        buckets: Sequence[float],
    ) -> Series[Histogram]:
        metric = Histogram(name, text, labels, registry=self.registry, buckets=buckets)
        return Series(metric, series)

    # --- figures read from elsewhere, not events

    def set_flow_state(self, flow: str, state: FlowState) -> None:
        """`flow` is in `state`, and in no other."""
        for each in FlowState:
            self.flow_state[flow, each].set(each is state)

    def set_circuit_state(self, target: str, state: CircuitState) -> None:
        """The circuit of `target` is in `state`, and in no other."""
        for each in CircuitState:
            self.circuit_state[target, each].set(each is state)

    def set_lag(self, topic: str, partition: int, records: int) -> None:
        """How many records of a partition lie beyond the ledger's position."""
        self.consumer_lag[topic, str(partition)].set(max(records, 0))

    def set_certificate_expiry(self, name: str, timestamp: float) -> None:
        """When the certificate `name` expires, seconds since the epoch."""
        self.certificate_expiry[name,].set(timestamp)

    def take_counts(self, counts: Sequence[TargetCounts]) -> None:
        """Take over what the ledger counted; what it does not mention is zero."""
        told = {count.target: count for count in counts}
        for target in self.targets:
            count = told.get(target)
            open_: dict[str, int] = {}
            for (state, _), number in (count.deliveries if count else {}).items():
                open_[state] = open_.get(state, 0) + number
            for state in OPEN_STATES:
                self.open_deliveries[target, state].set(open_.get(state, 0))
            parked = count.parked_dossiers if count else {}
            for reason in Reason:
                self.parked[target, reason].set(parked.get(reason, 0))
            oldest = count.oldest_open_at if count else None
            self.oldest_open[target,].set(oldest.timestamp() if oldest else 0)

    def take_unmapped(self, unmapped: Mapping[CodeList, int]) -> None:
        """Take over the ledger's numbers of dossiers parked as unmapped."""
        for codelist in CodeList:
            self.unmapped[codelist,].set(unmapped.get(codelist, 0))

    def take_dead_letters(self, by_reason: Mapping[str, int]) -> None:
        """Take over the ledger's numbers of open dead letters."""
        for reason in Reason:
            self.dead_letters_open[reason,].set(by_reason.get(reason, 0))

    def take_rates(
        self,
        shares: Mapping[tuple[str, str], tuple[int, int]],
        ratios: Mapping[tuple[str, str], float],
        standings: Mapping[str, int],
        counted_at: float,
    ) -> None:
        """Take over what was counted at `counted_at`, seconds since the epoch; what it leaves out goes.

        `shares`: numerator and denominator by rate and period. `ratios`: 0 to 1, by rate and agency.
        """
        self.forget_rates()
        for labels, (numerator, denominator) in shares.items():
            self.rate_numerator.labels(*labels).set(numerator)
            self.rate_denominator.labels(*labels).set(denominator)
        for labels, ratio in ratios.items():
            self.rate_ratio.labels(*labels).set(ratio)
        for standing, number in standings.items():
            self.figures.labels(standing).set(number)
        self.rates_counted.set(counted_at)

    def forget_rates(self) -> None:
        """Another process tells them now."""
        for gauge in (self.rate_numerator, self.rate_denominator, self.rate_ratio, self.figures):
            gauge.clear()
        self.rates_counted.set(0)

    def take_reports(
        self,
        states: Mapping[str, int],
        due: Mapping[str, float],
        *,
        open_revisions: int,
        periods_refused: int,
        looked_at: float,
    ) -> None:
        """Take over how the reports stand at `looked_at`; times are seconds since the epoch.

        `due`: by regime, of the next report that was not sent; a regime without one is left out.
        """
        for state in State:
            self.reports[state,].set(states.get(state, 0))
        self.report_due.clear()
        for regime, moment in due.items():
            self.report_due.labels(regime).set(moment)
        self.report_open_revisions.set(open_revisions)
        self.report_periods_refused.set(periods_refused)
        self.reports_looked_at.set(looked_at)

    def forget_reports(self) -> None:
        """Another process tells them now."""
        self.take_reports({}, {}, open_revisions=0, periods_refused=0, looked_at=0)

    def names(self) -> frozenset[str]:
        """The names of all metrics, as rules and dashboards write them, without `_bucket` and such."""
        found = set()
        for family in self.registry.collect():
            found.add(f"{family.name}_total" if family.type == "counter" else family.name)
        return frozenset(found)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
