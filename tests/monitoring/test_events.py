"""One call logs and counts; the level follows from the consequence; repeats are held back."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from monitoring.events import REPEATS, Events
from monitoring.logging import build_logger
from monitoring.metrics import Metrics
from schemas.ledger.model import AttemptKind, Outcome
from schemas.reasons import Reason


class Observed:
    """Events with a clock of our own, and what they wrote and counted."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        self.now = 1000.0
        self.out = io.StringIO()
        self.metrics = Metrics(
            targets=["national_portal"], version="0", topics={"dossier.events": 1}
        )
        logger = build_logger(self.out, level, json=True)
        self.events = Events(
            self.metrics, logger, clock=lambda: self.now, wall=lambda: 1_800_000_000.0
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def attempt(self, outcome: Outcome, reason: Reason | None = None) -> None:
        self.events.deliveries.attempt_ended(
            "national_portal", AttemptKind.UPDATE, "d-1", outcome, reason, 0.25, ""
        )


def test_a_record_on_its_way_is_logged_and_counted_at_every_step() -> None:
    seen = Observed()
    events = seen.events
    events.notice_captured(source="one_stop", feed="actions", dossier_id="d-1")
    events.page_read(source="one_stop", feed="actions", notices=1, skipped=2, seconds=0.1)
    events.batch_received(
        flow="ledger", topic="dossier.events", partition=0, records=3, newest=1_799_999_999.0
    )
    events.event_mapped(dossier_id="d-1", event_id="e-1", kind="change")
    events.enlisted(
        topic="dossier.events", partition=0, events=3, duplicates=1, overtaken=2, seconds=0.01
    )
    events.observed(topic="indicator.observations", partition=0, taken=4, refused=0, reasons=())
    events.receipt_published(receipts=2)

    processed = "hub_events_processed_total"
    assert seen.value(processed, flow="capture", outcome="captured") == 1
    assert seen.value(processed, flow="capture", outcome="skipped") == 2
    assert seen.value("hub_events_received_total", flow="capture") == 3
    assert seen.value("hub_events_received_total", flow="ledger") == 3
    assert seen.value(processed, flow="intake", outcome="mapped") == 1
    assert seen.value(processed, flow="ledger", outcome="enlisted") == 3
    assert seen.value(processed, flow="ledger", outcome="duplicate") == 1
    assert seen.value(processed, flow="ledger", outcome="overtaken") == 2
    assert seen.value(processed, flow="ledger", outcome="observed") == 4
    assert seen.value(processed, flow="receipts", outcome="published") == 2
    newest = seen.value("hub_last_record_timestamp_seconds", topic="dossier.events", partition="0")
    assert newest == 1_799_999_999.0
    assert {line["level"] for line in seen.lines()} == {"debug"}
    assert [line["event"] for line in seen.lines()] == [
        "notice_captured",
        "page_read",
        "event_mapped",
        "enlisted",
        "receipt_published",
    ]


@pytest.mark.parametrize(
    ("outcome", "reason", "level"),
    [
        (Outcome.DELIVERED, None, "debug"),
        (Outcome.FAILED, Reason.CONNECTION_REFUSED, "warning"),
        (Outcome.FAILED, Reason.WRONG_CREDENTIALS, "error"),
        (Outcome.UNKNOWN, Reason.TIMEOUT, "warning"),
        (Outcome.REJECTED, Reason.REJECTED_BY_TARGET, "warning"),
    ],
)
def test_an_attempt_is_counted_by_outcome_and_logged_by_consequence(
    outcome: Outcome, reason: Reason | None, level: str
) -> None:
    seen = Observed()
    seen.attempt(outcome, reason)
    (line,) = seen.lines()
    assert line["level"] == level
    assert line.get("reason") == reason
    counted = seen.value("hub_delivery_attempts_total", target="national_portal", result=outcome)
    assert counted == 1
    assert seen.value("hub_delivery_duration_seconds_sum", target="national_portal") == 0.25


def test_a_receipt_sets_latency_and_last_success() -> None:
    seen = Observed()
    seen.events.deliveries.delivered("national_portal", "d-1", 2, 90.0)
    seen.events.deliveries.delivered("national_portal", "d-2", 1, -1.0)
    target = {"target": "national_portal"}
    assert seen.value("hub_end_to_end_latency_seconds_count", **target) == 1
    assert seen.value("hub_end_to_end_latency_seconds_bucket", **target, le="120.0") == 1
    assert seen.value("hub_end_to_end_latency_seconds_bucket", **target, le="60.0") == 0
    assert seen.value("hub_last_success_timestamp_seconds", **target) == 1_800_000_000.0


def test_identical_trouble_is_logged_a_few_times_and_counted_every_time() -> None:
    seen = Observed()
    for _ in range(100):
        seen.attempt(Outcome.FAILED, Reason.CONNECTION_REFUSED)
    seen.attempt(Outcome.FAILED, Reason.DNS_FAILURE)
    assert len(seen.lines()) == REPEATS + 1
    counted = seen.value("hub_delivery_attempts_total", target="national_portal", result="failed")
    assert counted == 101

    seen.now += 61
    seen.attempt(Outcome.FAILED, Reason.CONNECTION_REFUSED)
    assert seen.lines()[-1]["suppressed"] == 100 - REPEATS


def test_a_dead_letter_calls_an_operator() -> None:
    seen = Observed()
    seen.events.dead_lettered(
        flow="intake",
        reason=Reason.UNDECODABLE,
        topic="onestop.notices",
        partition=3,
        offset=123456789,
        detail="magic byte",
    )
    (line,) = seen.lines()
    assert line["level"] == "error"
    assert line["offset"] == 123456789
    assert seen.value("hub_dead_letters_open", reason="undecodable") == 1
    processed = "hub_events_processed_total"
    assert seen.value(processed, flow="intake", outcome="dead_lettered") == 1

    seen.events.dead_letter_write_failed(
        topic="onestop.notices", partition=3, offset=1, error="KafkaTimeoutError"
    )
    assert seen.lines()[-1]["level"] == "error"
    assert seen.value("hub_dead_letter_writes_failed_total") == 1


def test_a_question_to_the_target_is_counted_by_its_answer() -> None:
    seen = Observed()
    for present in (True, False, None):
        seen.events.deliveries.asked("national_portal", "d-1", present, "timeout")
    for result in ("present", "absent", "failed"):
        assert seen.value("hub_lookups_total", target="national_portal", result=result) == 1
    assert [line["level"] for line in seen.lines()] == ["info", "info", "warning"]


def test_what_is_found_at_the_target_is_counted_by_its_kind() -> None:
    seen = Observed()
    found = seen.events.deliveries.found
    found("national_portal", "d-1", Reason.LATE_STATE, "fields=status")
    found("national_portal", "d-1", Reason.REJECTED_BY_TARGET, "the mend was refused")
    name = "hub_late_effects_total"
    assert seen.value(name, target="national_portal", kind="late_state") == 1
    assert seen.value(name, target="national_portal", kind="step_twice") == 0
    assert seen.value(name, target="other", kind="other") == 1
    assert [line["level"] for line in seen.lines()] == ["warning", "warning"]


@pytest.mark.parametrize(
    ("reason", "level", "state"),
    [(Reason.TIMEOUT, "warning", "waiting"), (Reason.WRONG_CREDENTIALS, "error", "paged")],
)
def test_an_open_circuit_pages_only_when_waiting_does_not_help(
    reason: Reason, level: str, state: str
) -> None:
    seen = Observed()
    flow = "deliver_national_portal"
    seen.events.deliveries.circuit_changed("national_portal", True, reason)
    assert seen.lines()[-1]["level"] == level
    assert seen.value("hub_flow_state", flow=flow, state=state) == 1
    assert seen.value("hub_circuit_state", target="national_portal", state="open") == 1
    seen.events.deliveries.circuit_changed("national_portal", False, None)
    assert seen.value("hub_flow_state", flow=flow, state="running") == 1
    assert seen.value("hub_circuit_state", target="national_portal", state="open") == 0


@pytest.mark.parametrize(
    ("reason", "level"),
    [(Reason.REVISION_MISSING, "warning"), (Reason.REVISION_CONFLICT, "error")],
)
def test_a_wrong_number_of_a_report_is_told_with_its_report(reason: Reason, level: str) -> None:
    seen = Observed()
    report = "figures/II.06/II.06a/2026-11/H12"
    seen.events.packet_found(
        target="gov_reporting", report_id=report, reason=reason, detail="revision=3 newest=1"
    )
    (line,) = seen.lines()
    assert (line["event"], line["level"], line["reason"]) == ("packet_found", level, reason)
    assert (line["report_id"], line["detail"]) == (report, "revision=3 newest=1")


def test_flows_say_what_they_do() -> None:
    seen = Observed()
    events = seen.events
    events.flow_started(flow="intake")
    events.rebalanced(flow="intake", topic="onestop.notices", partitions={2, 1})
    events.flow_waiting(flow="intake", waits_for="ledger")
    assert seen.value("hub_flow_state", flow="intake", state="waiting") == 1
    events.flow_paged(flow="intake", reason="unknown_schema", detail="register it")
    assert seen.value("hub_flow_state", flow="intake", state="paged") == 1
    events.flow_stopped(flow="intake", reason="asked")
    assert seen.value("hub_flow_state", flow="intake", state="stopped") == 1
    assert seen.value("hub_rebalances_total", flow="intake") == 1
    assert [line["level"] for line in seen.lines()] == [
        "info",
        "info",
        "warning",
        "error",
        "info",
    ]
    assert seen.lines()[1]["partitions"] == [1, 2]


def test_nothing_is_written_when_the_level_filters_it_and_all_is_counted() -> None:
    seen = Observed(logging.WARNING)
    seen.events.event_mapped(dossier_id="d-1", event_id="e-1", kind="change")
    seen.attempt(Outcome.DELIVERED)
    assert seen.lines() == []
    assert seen.value("hub_events_processed_total", flow="intake", outcome="mapped") == 1


def test_other_troubles_are_warnings_and_hold_back_repeats() -> None:
    seen = Observed()
    events = seen.events
    for _ in range(20):
        events.source_unavailable(source="one_stop", feed="actions", detail="refused", wait=1.0)
        events.ledger_unavailable(flow="ledger", error="OperationalError", wait=1.0)
        events.deliveries.ledger_unavailable("national_portal")
        events.deliveries.parked("national_portal", "d-1", Reason.UNMAPPED, "codelist=status")
    assert {line["level"] for line in seen.lines()} == {"warning"}
    assert len(seen.lines()) == 4 * REPEATS
    events.schema_rejected(flow="intake", subject="nobody-knows-it", detail="id 7")
    assert seen.lines()[-1]["level"] == "error"
    assert seen.value("hub_schema_rejects_total", subject="other") == 1


def test_refused_observations_are_a_warning_with_their_reasons() -> None:
    seen = Observed()
    seen.events.observed(
        topic="indicator.observations",
        partition=3,
        taken=1,
        refused=2,
        reasons={"wrong_unit", "period_invalid"},
    )
    processed = "hub_events_processed_total"
    assert seen.value(processed, flow="ledger", outcome="observed") == 1
    assert seen.value(processed, flow="ledger", outcome="refused") == 2
    (line,) = seen.lines()
    assert (line["event"], line["level"]) == ("observations_refused", "warning")
    assert (line["partition"], line["reasons"]) == (3, ["period_invalid", "wrong_unit"])
