"""Metrics: closed lists, every series at zero, the rules of the ecosystem."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import FLOW_OUTCOMES, CircuitState, Flow, FlowState, Metrics, engine_flow
from schemas.dossier.mappings import CodeList
from schemas.ledger.model import DeliveryState, Outcome, TargetCounts
from schemas.reasons import Reason


def make() -> Metrics:
    return Metrics(
        targets=["national_portal", "one_stop"],
        version="0.1.0",
        topics={"dossier.events": 3},
        subjects=["dossier.events-value"],
        certificates=["portal-client"],
    )


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_expected_series_stands_at_zero_from_the_start() -> None:
    metrics = make()
    for target in ("national_portal", "one_stop"):
        for outcome in Outcome:
            assert value(metrics, "hub_delivery_attempts_total", target=target, result=outcome) == 0
        for reason in Reason:
            assert value(metrics, "hub_parked", target=target, reason=reason) == 0
        assert value(metrics, "hub_delivery_duration_seconds_count", target=target) == 0
    for flow, outcomes in FLOW_OUTCOMES.items():
        for outcome_name in outcomes:
            assert (
                value(metrics, "hub_events_processed_total", flow=flow, outcome=outcome_name) == 0
            )
    for codelist in CodeList:
        assert value(metrics, "hub_mapping_unmapped", codelist=codelist) == 0
    assert value(metrics, "hub_consumer_lag_records", topic="dossier.events", partition="2") == 0
    assert value(metrics, "hub_dead_letter_writes_failed_total") == 0
    assert value(metrics, "hub_build_info", version="0.1.0") == 1


def test_names_follow_the_rules_of_the_ecosystem() -> None:
    metrics = make()
    families = list(text_string_to_metric_families(metrics.render().decode()))
    ours = [family for family in families if family.name.startswith("hub_")]
    assert len(ours) >= 20
    for family in ours:
        assert family.documentation, family.name
        assert not re.search(r"_(ms|millis|minutes|hours|kb|percent)(_|$)", family.name)
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total")
            assert not sample.name.endswith("_created")
            assert set(sample.labels) <= {
                *("flow", "outcome", "target", "result", "state", "reason", "codelist", "le"),
                *("kind", "topic", "partition", "subject", "name", "version"),
            }
    assert metrics.names() >= {
        "hub_events_received_total",
        "hub_end_to_end_latency_seconds",
        "hub_circuit_state",
    }


def test_a_label_outside_its_list_is_counted_as_other_and_cannot_grow() -> None:
    metrics = make()
    for number in range(50):
        metrics.attempts["national_portal", f"text {number}"].inc()
    samples = [
        sample
        for family in metrics.registry.collect()
        if family.name == "hub_delivery_attempts"
        for sample in family.samples
    ]
    assert len(samples) == 2 * len(Outcome) + 1
    assert value(metrics, "hub_delivery_attempts_total", target="other", result="other") == 50


def test_two_sets_of_metrics_do_not_touch_each_other() -> None:
    one, two = make(), make()
    one.attempts["national_portal", Outcome.UNKNOWN].inc()
    labels = {"target": "national_portal", "result": "unknown"}
    assert value(one, "hub_delivery_attempts_total", **labels) == 1
    assert value(two, "hub_delivery_attempts_total", **labels) == 0


def test_a_flow_and_a_circuit_are_in_one_state_only() -> None:
    metrics = make()
    flow = engine_flow("national_portal")
    assert value(metrics, "hub_flow_state", flow=flow, state="running") == 0
    metrics.set_flow_state(flow, FlowState.PAGED)
    metrics.set_flow_state(Flow.INTAKE, FlowState.RUNNING)
    metrics.set_circuit_state("national_portal", CircuitState.OPEN)
    states = {
        state: value(metrics, "hub_flow_state", flow=flow, state=state) for state in FlowState
    }
    assert [state for state, is_set in states.items() if is_set] == [FlowState.PAGED]
    assert value(metrics, "hub_circuit_state", target="national_portal", state="closed") == 0
    assert value(metrics, "hub_circuit_state", target="national_portal", state="open") == 1
    assert value(metrics, "hub_circuit_state", target="one_stop", state="closed") == 1


def test_what_the_ledger_no_longer_mentions_goes_back_to_zero() -> None:
    metrics = make()
    oldest = datetime(2026, 11, 23, 7, tzinfo=UTC)
    counts = TargetCounts(
        target="national_portal",
        deliveries={
            (DeliveryState.PARKED, "unmapped"): 4,
            (DeliveryState.PARKED, "field_missing"): 1,
            (DeliveryState.DELIVERED, ""): 100,
        },
        parked_dossiers={"unmapped": 2},
        oldest_open_at=oldest,
    )
    metrics.take_counts([counts])
    metrics.take_unmapped({CodeList.AGENCY: 2})
    metrics.take_dead_letters({"undecodable": 3})
    target = {"target": "national_portal"}
    assert value(metrics, "hub_open_deliveries", **target, state="parked") == 5
    assert value(metrics, "hub_open_deliveries", **target, state="delivered") is None
    assert value(metrics, "hub_parked", **target, reason="unmapped") == 2
    assert value(metrics, "hub_oldest_open_timestamp_seconds", **target) == oldest.timestamp()
    assert value(metrics, "hub_mapping_unmapped", codelist="agency") == 2
    assert value(metrics, "hub_dead_letters_open", reason="undecodable") == 3

    metrics.take_counts([])
    metrics.take_unmapped({})
    metrics.take_dead_letters({})
    assert value(metrics, "hub_open_deliveries", **target, state="parked") == 0
    assert value(metrics, "hub_parked", **target, reason="unmapped") == 0
    assert value(metrics, "hub_oldest_open_timestamp_seconds", **target) == 0
    assert value(metrics, "hub_mapping_unmapped", codelist="agency") == 0
    assert value(metrics, "hub_dead_letters_open", reason="undecodable") == 0
