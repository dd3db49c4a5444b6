"""A day told as a story: what happens at the one-stop system arrives at the portal, and it can be proved."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from schemas.codec import Codec
from schemas.records import DeliveryReceipt, DossierEvent, Notice
from schemas.registry import LocalRegistry
from schemas.topics import DEAD_LETTERS, DELIVERY_RECEIPTS, DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from tests.e2e.played import Commanded, PlayedDay

PORTAL = "national_portal"

NAMED = (
    *("events", "dossiers", "delivered", "attempts", "missing", "duplicate_effects"),
    *("order_violations", "stale", "duplicate_calls", "parked", "parked_expected", "unmapped"),
    *("dead_letters", "unknown_asked", "seconds", "latency_p50_s", "latency_p95_s", "rss_max_mb"),
    *("superseded", "waiting"),
)


async def records(played: PlayedDay, topic: str) -> list[Any]:
    """The decoded records of a topic, partition by partition, in order."""
    codec = Codec(LocalRegistry())
    await codec.prepare()
    return [await codec.decode(m.value) for m in played.messages if m.topic == topic]


# --- one dossier ------------------------------------------------------------------------------------


async def test_one_dossier_is_followed_from_the_journal_to_the_portal(played: PlayedDay) -> None:
    # At the one-stop system officers did this, in this order.
    told = played.journal.steps()[played.dossier]
    final = played.journal.states()[played.dossier].state
    actions = [str(one.action) for one in told]
    assert len(actions) >= 5

    # The hub has one story for it, and tells it by the number that the citizen knows.
    (story,) = json.loads(played.traced["json"])
    dossier_id = story["dossier_id"]
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for entry in story["entries"]:
        by_kind.setdefault(entry["kind"], []).append(entry)

    # Every action was captured as a notice under the dossier's id, in order.
    notices: list[Notice] = [
        notice
        for notice in await records(played, ONESTOP_NOTICES.name)
        if notice.dossier_id == dossier_id
    ]
    assert all(notice.sealed for notice in notices)
    seqs = [notice.read_seq for notice in notices]
    assert seqs == sorted(seqs)

    # Each became an event on the log, in the same order.
    events: list[DossierEvent] = [
        event
        for event in await records(played, DOSSIER_EVENTS.name)
        if event.dossier_id == dossier_id
    ]
    assert [event.event_id for event in events] == [notice.notice_id for notice in notices]
    assert [event.step.action_id for event in events if event.step] == actions
    traced = {entry["facts"]["event_id"]: entry["facts"] for entry in by_kind["event"]}
    assert set(traced) == {event.event_id for event in events}

    # Each step was owed to the portal, sent, and confirmed; nothing was sent before it was enlisted.
    deliveries = {entry["facts"]["delivery_id"]: entry["facts"] for entry in by_kind["delivery"]}
    attempts = {entry["facts"]["attempt_id"]: entry["facts"] for entry in by_kind["attempt"]}
    receipts = {entry["facts"]["delivery_id"]: entry["facts"] for entry in by_kind["receipt"]}
    started = {entry["facts"]["attempt_id"]: entry["at"] for entry in by_kind["attempt"]}
    steps = [d for d in deliveries.values() if d["operation"] == "step"]
    assert [traced[d["event_id"]]["action_id"] for d in steps] == actions
    for delivery in steps:
        assert delivery["state"] == "delivered"
        receipt = receipts[delivery["delivery_id"]]
        assert receipt["published"] == "true"
        covering = attempts[receipt["attempt_id"]]
        assert delivery["delivery_id"] in covering["deliveries"].split()
        enlisted = datetime.fromisoformat(traced[delivery["event_id"]]["enlisted_at"])
        sent = datetime.fromisoformat(started[receipt["attempt_id"]])
        settled = datetime.fromisoformat(delivery["settled_at"])
        assert enlisted <= sent <= settled

    # Of the states the last one was delivered; what came before was delivered too, or is superseded.
    states = [d for d in deliveries.values() if d["operation"] == "state"]
    assert len(states) == len(events)
    assert {d["state"] for d in states} <= {"delivered", "superseded"}

    # The portal lists exactly these steps, in this order, and holds the final state.
    held = played.held[final.code]
    shown = [(one["officer"], one["status"], one["text"]) for one in held["steps"]]
    assert shown == [(one.step.officer, one.step.status, one.step.text) for one in told]
    assert held["status"] == final.status
    assert (held["components"], held["results"]) == (final.components, final.results)


def test_the_story_is_told_to_people_too(played: PlayedDay) -> None:
    text = played.traced["text"]
    (story,) = json.loads(played.traced["json"])
    assert story["dossier_id"] in text
    for word in ("sự kiện · event", "lượt chuyển · delivery", "lần gửi · attempt", "xác nhận"):
        assert word in text, "Vietnamese first"


# --- the whole day ----------------------------------------------------------------------------------


def test_the_verdict_is_clean(played: PlayedDay) -> None:
    assert played.verdict.clean, played.verdict.findings
    assert played.verdict.effects > 300, "a day on which nothing happened proves nothing"
    assert played.figures["unknown_asked"] > 0, "unknown outcomes were asked about"
    assert played.figures["retried"] > 0
    assert len(played.figures["troubles"]) > 10


def test_an_unmapped_status_is_parked_and_never_sent(played: PlayedDay) -> None:
    expected = {
        d for one in played.journal.parked() if one.reason == "unmapped" for d in one.dossiers
    }
    assert expected
    parked = played.rows(
        "select distinct a.value, d.detail from deliveries d join dossier_aliases a"
        " on a.dossier_id = d.dossier_id and a.kind = 'source_id'"
        " where d.state = 'parked' and d.reason = 'unmapped'"
    )
    assert {int(value.rpartition("/")[2]) for value, _ in parked} == expected
    assert all(detail.startswith("codelist=status code=") for _, detail in parked)
    known = {str(number) for number in range(1, 14)}
    sent = {one["status"] for held in played.held.values() for one in held["steps"]}
    assert sent <= known, "never an empty, local or invented status"


def test_what_is_parked_is_what_the_warts_foretell(played: PlayedDay) -> None:
    assert played.verdict.parked == played.verdict.parked_expected > 3
    reasons = {
        reason
        for (reason,) in played.rows(
            "select distinct reason from deliveries where state = 'parked'"
        )
    }
    assert {"unmapped", "code_conflict", "field_too_long", "field_invalid"} <= reasons


async def test_every_delivered_row_has_its_receipt_on_kafka(played: PlayedDay) -> None:
    published: list[DeliveryReceipt] = await records(played, DELIVERY_RECEIPTS.name)
    delivered = {
        row[0]
        for row in played.rows("select delivery_id from deliveries where state = 'delivered'")
    }
    assert {receipt.delivery_id for receipt in published} == delivered
    assert {receipt.target for receipt in published} == {PORTAL}
    (owed,) = played.rows("select count(*) from deliveries where receipt = 'owed'")
    assert owed == (0,)


def test_the_broker_dropped_nothing(played: PlayedDay) -> None:
    assert {topic for topic, _ in played.watermarks} == {topic.name for topic in TOPICS}
    assert set(played.watermarks.values()) == {0}


def test_a_dossier_s_records_lie_in_one_partition(played: PlayedDay) -> None:
    places: dict[tuple[str, bytes], set[int]] = {}
    for message in played.messages:
        assert message.key, "every record has the dossier as its key"
        places.setdefault((message.topic, message.key), set()).add(message.partition)
    assert {len(partitions) for partitions in places.values()} == {1}


def test_the_hub_says_that_it_is_ready_and_gets_on(played: PlayedDay) -> None:
    assert played.ready == {"ready": True, "why": []}
    assert played.live["live"] is True
    assert played.live["why"] == []
    assert set(played.live["parts"]) == {
        *("upkeep", "capture", "intake", "ledger", "receipts", "deliver_national_portal"),
        "figures",
    }


# --- metrics ----------------------------------------------------------------------------------------


def samples(played: PlayedDay, name: str, label: str) -> dict[str, int]:
    """The samples of a metric that are not zero, by one of its labels."""
    return {
        sample.labels[label]: int(sample.value)
        for family in text_string_to_metric_families(played.metrics)
        for sample in family.samples
        if sample.name == name and sample.value
    }


def counted(played: PlayedDay, query: str) -> dict[str, int]:
    return dict(played.rows(query))


def test_the_metrics_agree_with_the_ledger(played: PlayedDay) -> None:
    assert samples(played, "hub_open_deliveries", "state") == counted(
        played,
        "select state, count(*) from deliveries"
        " where state in ('pending', 'sending', 'waiting', 'parked') group by state",
    )
    assert samples(played, "hub_parked", "reason") == counted(
        played,
        "select reason, count(distinct dossier_id) from deliveries where state = 'parked' group by 1",
    )
    assert samples(played, "hub_delivery_attempts_total", "result") == counted(
        played, "select outcome, count(*) from attempts group by 1"
    )
    assert samples(played, "hub_mapping_unmapped", "codelist") == {
        "status": played.figures["unmapped"]
    }


def test_the_metrics_agree_with_the_topics(played: PlayedDay) -> None:
    on_kafka = Counter(message.topic for message in played.messages)
    done = samples(played, "hub_events_processed_total", "outcome")
    assert done["captured"] == on_kafka[ONESTOP_NOTICES.name]
    assert done["mapped"] == done["enlisted"] == on_kafka[DOSSIER_EVENTS.name]
    assert done["published"] == on_kafka[DELIVERY_RECEIPTS.name]
    assert on_kafka[DEAD_LETTERS.name] == 0
    (events,) = played.rows("select count(*) from events")
    assert events == (done["enlisted"],)


def test_the_figures_agree_with_the_ledger(played: PlayedDay) -> None:
    states = counted(played, "select state, count(*) from deliveries group by state")
    figures = played.figures
    for state in ("delivered", "superseded", "discarded", "waiting"):
        assert figures[state] == states.get(state, 0)
    assert figures["parked_deliveries"] == states["parked"]
    assert figures["enlisted"] == sum(states.values())
    attempts = counted(played, "select outcome, count(*) from attempts group by 1")
    assert figures["attempts"] == sum(attempts.values())


# --- the command ------------------------------------------------------------------------------------


def test_the_command_ends_with_its_figures_and_status_0(commanded: Commanded) -> None:
    ended = commanded.ended
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("\n") == 1, "everything else goes to standard error"
    figures = commanded.figures
    assert not [name for name in NAMED if name not in figures]
    assert figures["clean"] is True
    for wrong in ("missing", "duplicate_effects", "order_violations", "stale", "dead_letters"):
        assert figures[wrong] == 0
    assert figures["parked"] == figures["parked_expected"] > 0
    assert figures["dossiers"] == 300
    assert figures["events"] > 2000
    assert 0 < figures["latency_p50_s"] <= figures["latency_p95_s"]


def test_the_sum_closes(commanded: Commanded) -> None:
    figures = commanded.figures
    ends = ("delivered", "superseded", "discarded", "waiting", "parked_deliveries", "behind_parked")
    assert sum(figures[name] for name in ends) == figures["enlisted"] > figures["events"]


def test_the_verdict_stands_above_the_figures(commanded: Commanded) -> None:
    told = commanded.ended.stderr
    assert "không giữ lại gì" in told, "the broker is labelled: it keeps nothing"
    assert "Cổng Dịch vụ công giữ đúng, đủ, theo thứ tự" in told
    assert "The portal holds everything, once, in order" in told


def test_the_day_s_files_stay_in_its_folder(commanded: Commanded) -> None:
    for name in ("env", "journal.db", "ledger.db", "onestop.db", "portal.db", "worker.log"):
        assert (commanded.folder / name).is_file()
