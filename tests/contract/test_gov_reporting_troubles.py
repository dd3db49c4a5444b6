"""Troubles of the wire, from the simulator to the sink's judgement; and what is refused, by which word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.simulator import ReportingSimulator
from connectors.gov_reporting.simulator.troubles import Rule
from connectors.gov_reporting.sink import GovReporting
from connectors.protocols import LookupAnswer, StateRequest
from schemas.reasons import Reason
from schemas.records import ReportPacket
from schemas.reports import packets as p
from tests.unit.gov_reporting import samples

ELEMENTS = load_elements()


@asynccontextmanager
async def far_side(
    folder: Path, *, tls: bool = False, profile: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[tuple[ReportingSimulator, GovReporting]]:
    """A reporting system, and a sink that has a token of it."""
    async with ReportingSimulator(
        folder / "truth.db",
        profile=samples.profile(**(profile or {})),
        tls=folder / "tls" if tls else None,
    ) as system:
        if tls:
            changes["ca_certificates"] = system.ca
        travel = samples.soap(system) if changes.pop("soap", False) else {}
        sink = GovReporting(
            samples.settings(system, **(travel | changes)),
            ELEMENTS,
            samples.SEALER,
            samples.HASHER,
        )
        await sink.open()
        try:
            await sink.probe()
            yield system, sink
        finally:
            await sink.close()


def request(sink: GovReporting, packet: ReportPacket | None = None) -> StateRequest:
    return sink.state_request(packet or samples.packet(), samples.CODES)


async def refusal(
    sink: GovReporting, packet: ReportPacket | None = None, *, update: bool = False
) -> DeliveryError:
    call = sink.update if update else sink.create
    with pytest.raises(DeliveryError) as caught:
        await call(request(sink, packet), samples.intent())
    return caught.value


SHORT: dict[str, Any] = {
    "connect_timeout_seconds": 0.4,
    "read_timeout_seconds": 1.0,
    "total_timeout_seconds": 1.2,
}


@pytest.mark.parametrize("soap", [False, True], ids=["rest", "soap"])
@pytest.mark.parametrize(
    ("trouble", "changes", "reason"),
    [
        ("reset", {}, Reason.CONNECTION_LOST),
        ("slow_drip", {"delay": 30.0}, Reason.TIMEOUT),
        ("drop", {}, Reason.CONNECTION_LOST),
        ("truncated", {}, Reason.UNPARSEABLE_ANSWER),
        ("html_200", {"stage": "after"}, Reason.UNPARSEABLE_ANSWER),
        ("html_502", {"stage": "after"}, Reason.GATEWAY_ERROR),
        ("overloaded", {"stage": "after"}, Reason.GATEWAY_ERROR),
        ("fault_500", {"stage": "after"}, Reason.SERVER_FAULT),
        ("fault_200", {"stage": "after"}, Reason.SERVER_FAULT),
        ("duplicate_answer", {}, Reason.FOREIGN_ANSWER),
        ("foreign_answer", {"foreign": "id"}, Reason.FOREIGN_ANSWER),
        ("foreign_answer", {"foreign": "report"}, Reason.FOREIGN_ANSWER),
    ],
)
async def test_a_write_of_which_nobody_can_tell(
    tmp_path: Path, trouble: str, changes: dict[str, Any], reason: Reason, soap: bool
) -> None:
    async with far_side(tmp_path, soap=soap, **SHORT) as (system, sink):
        await system.arm(Rule(trouble=trouble, operation="create", **changes))
        error = await refusal(sink)
        assert isinstance(error, OutcomeUnknown)
        assert error.reason is reason
        assert system.truth.summary()["creations"] == 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("unavailable", Reason.TARGET_UNAVAILABLE), ("rate_limited", Reason.RATE_LIMITED)],
)
async def test_an_announced_pause_is_surely_not_done(
    tmp_path: Path, trouble: str, reason: Reason
) -> None:
    async with far_side(tmp_path) as (system, sink):
        await system.arm(Rule(trouble=trouble, operation="create", retry_after=9))
        error = await refusal(sink)
        assert isinstance(error, TransientError)
        assert (error.reason, error.retry_after) == (reason, 9.0)
        assert system.truth.summary()["creations"] == 0


@pytest.mark.parametrize(
    ("trouble", "tls", "reason"),
    [
        ("refuse", False, Reason.CONNECTION_REFUSED),
        ("connect_timeout", False, Reason.CONNECT_TIMEOUT),
        ("tls_expired", True, Reason.TLS_FAILURE),
        ("tls_unknown_ca", True, Reason.TLS_FAILURE),
    ],
)
async def test_no_connection_is_surely_not_done(
    tmp_path: Path, trouble: str, tls: bool, reason: Reason
) -> None:
    # Without a kept connection: losing one of those is another trouble.
    changes: dict[str, Any] = SHORT | {"idle_connection_seconds": 0.001}
    async with far_side(tmp_path, tls=tls, **changes) as (system, sink):
        await system.arm(Rule(trouble=trouble, seconds=600.0))
        error = await refusal(sink)
        assert isinstance(error, TransientError)
        assert error.reason is reason
        await system.clear_faults()
        await sink.create(request(sink), samples.intent())
        assert system.truth.summary()["creations"] == 1


# --- revisions -------------------------------------------------------------------------------------


async def test_a_revision_that_is_there_already_is_a_yes_to_an_update(tmp_path: Path) -> None:
    """The engine sends the newest once more when an outcome is unknown; it must not take effect twice."""
    async with far_side(tmp_path) as (system, sink):
        await sink.create(request(sink), samples.intent())
        assert (await refusal(sink)).reason is Reason.ALREADY_EXISTS
        await sink.update(request(sink), samples.intent())
        await sink.update(request(sink, samples.second()), samples.intent())
        await sink.update(request(sink, samples.second()), samples.intent())
        (held,) = system.truth.reports()
        assert [each["revision"] for each in held["revisions"]] == [1, 2]
        assert system.truth.summary()["duplicate_calls"] == 2


@pytest.mark.parametrize(
    "packet",
    [
        samples.packet(),
        samples.packet(samples.figures(12), revision=2),
        samples.packet(samples.figures(12), revision=4),
    ],
    ids=["older", "same-number-other-content", "hole"],
)
async def test_a_revision_out_of_order_is_refused(tmp_path: Path, packet: ReportPacket) -> None:
    async with far_side(tmp_path) as (system, sink):
        await sink.create(request(sink), samples.intent())
        await sink.update(request(sink, samples.second()), samples.intent())
        error = await refusal(sink, packet, update=True)
        assert isinstance(error, RejectedError)
        assert error.reason is Reason.REVISION_ORDER
        (held,) = system.truth.reports()
        assert (held["revision"], held["hash"]) == (2, samples.second().snapshot_hash)


async def test_a_first_submission_that_is_not_the_first_revision_is_a_hole(tmp_path: Path) -> None:
    async with far_side(tmp_path) as (system, sink):
        assert (await refusal(sink, samples.second())).reason is Reason.REVISION_ORDER
        system.receiver.profile = samples.profile(revisions="rising")
        await sink.create(request(sink, samples.second()), samples.intent())
        assert system.truth.summary()["creations"] == 1


async def test_an_old_revision_that_comes_late_never_covers_a_newer_one(tmp_path: Path) -> None:
    async with far_side(tmp_path) as (system, sink):
        await sink.create(request(sink), samples.intent())
        await system.arm(Rule(trouble="late_effect", operation="update", delay=0.2, overtaken=True))
        assert isinstance(await refusal(sink, samples.second(), update=True), OutcomeUnknown)
        await sink.update(request(sink, samples.second()), samples.intent())
        await system.door_port.cancel_late_effects()
        (held,) = system.truth.reports()
        assert [each["revision"] for each in held["revisions"]] == [1, 2]
        summary = system.truth.summary()
        assert (summary["twice"], summary["out_of_order"]) == (0, 0)


# --- what the receiver refuses ---------------------------------------------------------------------


def _unbalanced() -> ReportPacket:
    row = p.FigureRow(keys=("H44.07", None), values=(10, 5, 3, 1, 7, 4, 2, 1, 3, 2, 1))
    return samples.packet(replace(samples.figures(), rows=(row,)))


@pytest.mark.parametrize(
    ("packet", "profile", "reason"),
    [
        (_unbalanced(), {}, Reason.FIGURES_REFUSED),
        (samples.packet(form_version="TT02/2017"), {}, Reason.FORM_UNKNOWN),
        (samples.packet(regime="VII.9"), {}, Reason.FORM_UNKNOWN),
        (samples.packet(period="2026-13"), {}, Reason.PERIOD_REFUSED),
        (samples.packet(window_from=date(2026, 7, 16)), {}, Reason.PERIOD_REFUSED),
        (samples.packet(due_on=date(2026, 8, 26)), {}, Reason.PERIOD_REFUSED),
        (samples.packet(), {"today": date(2026, 8, 14)}, Reason.PERIOD_REFUSED),
        (samples.packet(), {"today": date(2026, 8, 26), "late": "refuse"}, Reason.PERIOD_REFUSED),
        (samples.packet(snapshot_hash="none"), {}, Reason.CONTRACT_MISMATCH),
    ],
    ids=[
        "unbalanced",
        "form-version",
        "regime",
        "no-such-period",
        "window",
        "due-date",
        "before-the-cut-off",
        "after-the-due-date",
        "structure",
    ],
)
async def test_a_refusal_parks_the_packet_by_its_word(
    tmp_path: Path, packet: ReportPacket, profile: dict[str, Any], reason: Reason
) -> None:
    async with far_side(tmp_path, profile=profile) as (system, sink):
        error = await refusal(sink, packet)
        assert isinstance(error, RejectedError)
        assert error.reason is reason
        assert error.exchange is not None
        assert error.exchange.answer
        assert system.truth.summary()["effects"] == 0


async def test_every_kind_that_goes_out_is_taken(tmp_path: Path) -> None:
    from tests.unit.reports.contents import SAMPLES

    forms = {"list_figures": "b", "outline": "c", "kpi_values": "d", "status": "e", "figures": "a"}
    async with far_side(tmp_path) as (system, sink):
        for kind, letter in forms.items():
            content = SAMPLES[p.PacketKind(kind)]
            packet = samples.packet(
                content, regime="XTB.01", form=f"XTB.01{letter}", form_version="1"
            )
            await sink.create(request(sink, packet), samples.intent())
        assert system.truth.summary()["creations"] == len(forms) == 5


# --- tokens ----------------------------------------------------------------------------------------


async def test_a_token_is_renewed_before_its_end(tmp_path: Path) -> None:
    clock = [1000.0]
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        sink = GovReporting(
            samples.settings(system),
            ELEMENTS,
            samples.SEALER,
            samples.HASHER,
            clock=lambda: clock[0],
        )
        await sink.open()
        try:
            for at in (1000.0, 1200.0, 1290.0, 1500.0, 1600.0):  # a token lives 300 s, margin 60
                clock[0] = at
                assert await sink.look_up("figures/II.06/II.06a/2026-08/H44") == LookupAnswer(
                    present=False
                )
        finally:
            await sink.close()
        calls = system.truth.summary()["calls"]
        verdicts = system.truth.summary()["verdicts"]
    assert calls["look_up"] == 5
    assert calls["token"] == 3
    assert "no_token" not in verdicts


async def test_tokens_that_are_refused_one_after_the_other_stop_the_flow(tmp_path: Path) -> None:
    async with far_side(tmp_path) as (system, sink):
        await system.arm(Rule(trouble="expired_token", operation="look_up", times=3))
        for _ in range(2):
            with pytest.raises(TransientError) as expired:
                await sink.probe()
            assert expired.value.reason is Reason.SESSION_EXPIRED
        with pytest.raises(MisconfiguredError) as stopped:
            await sink.probe()
        assert stopped.value.reason is Reason.ACCESS_DENIED
        await sink.probe()  # and when it is mended, it goes on


@pytest.mark.parametrize(
    "trouble", ["drop", "truncated", "html_502", "html_200", "rate_limited", "fault_500", "reset"]
)
async def test_a_token_that_cannot_be_had_is_surely_not_sent(tmp_path: Path, trouble: str) -> None:
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        sink = GovReporting(samples.settings(system), ELEMENTS, samples.SEALER, samples.HASHER)
        await sink.open()
        try:
            await system.arm(Rule(trouble=trouble, operation="token"))
            error = await refusal(sink)
            assert isinstance(error, TransientError)
            assert error.exchange is None
            assert system.truth.summary()["calls"] == {"token": 1}
            await sink.create(request(sink), samples.intent())
        finally:
            await sink.close()
        assert system.truth.summary()["creations"] == 1


@pytest.mark.parametrize("where", ["basic", "body"])
async def test_the_client_is_known_either_way(tmp_path: Path, where: str) -> None:
    async with far_side(tmp_path, client_authentication=where, scope="baocao"):
        pass


async def test_an_unknown_client_stops_the_flow(tmp_path: Path) -> None:
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        for where in ("basic", "body"):
            settings = samples.settings(system, client_id="ai-do", client_authentication=where)
            sink = GovReporting(settings, ELEMENTS, samples.SEALER, samples.HASHER)
            await sink.open()
            try:
                with pytest.raises(MisconfiguredError) as stopped:
                    await sink.probe()
            finally:
                await sink.close()
            assert stopped.value.reason is Reason.WRONG_CREDENTIALS
            assert stopped.value.exchange is None
            assert samples.CLIENT_SECRET not in str(stopped.value)


async def test_no_secret_reaches_the_far_sides_journal(tmp_path: Path) -> None:
    async with far_side(tmp_path, client_authentication="body"):
        pass
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("truth.db*"))
    assert samples.CLIENT_SECRET.encode() not in kept
