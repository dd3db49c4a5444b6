"""Troubles of the wire, from the simulator to the sink's judgement: which word each of them gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import DeliveryError, OutcomeUnknown, TransientError
from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.simulator import PortalSimulator, Profile
from connectors.national_portal.simulator.troubles import Rule
from connectors.national_portal.sink import NationalPortal
from connectors.protocols import StateRequest
from schemas.reasons import Reason
from tests.unit.national_portal import samples


@asynccontextmanager
async def far_side(
    folder: Path, *, tls: bool = False, **changes: Any
) -> AsyncIterator[tuple[PortalSimulator, NationalPortal, StateRequest]]:
    """A portal, a sink that is logged in there, and something to send."""
    profile = Profile(username=samples.USERNAME, password=samples.PASSWORD)
    async with PortalSimulator(
        folder / "truth.db", profile=profile, tls=folder / "tls" if tls else None
    ) as portal:
        if tls:
            changes["ca_certificates"] = portal.ca
        settings = samples.settings(portal.url, **changes)
        sink = NationalPortal(settings, load_dialect("adapter"), samples.SEALER, samples.HASHER)
        await sink.open()
        try:
            await sink.probe()
            yield portal, sink, sink.state_request(samples.event(), samples.codes())
        finally:
            await sink.close()


async def refusal(sink: NationalPortal, request: StateRequest) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sink.create(request, samples.intent())
    return caught.value


SHORT: dict[str, Any] = {
    "connect_timeout_seconds": 0.4,
    "read_timeout_seconds": 0.6,
    "total_timeout_seconds": 0.8,
}


@pytest.mark.parametrize(
    ("trouble", "changes", "reason"),
    [
        ("reset", {}, Reason.CONNECTION_LOST),
        ("slow_drip", {"delay": 30.0}, Reason.TIMEOUT),
        ("wrong_namespace", {}, Reason.UNPARSEABLE_ANSWER),
        ("duplicate_answer", {}, Reason.FOREIGN_ANSWER),
    ],
)
async def test_a_write_of_which_nobody_can_tell(
    tmp_path: Path, trouble: str, changes: dict[str, Any], reason: Reason
) -> None:
    async with far_side(tmp_path, **SHORT) as (portal, sink, request):
        await portal.arm(Rule(trouble=trouble, operation="create", **changes))
        error = await refusal(sink, request)
        assert isinstance(error, OutcomeUnknown)
        assert error.reason is reason
        assert portal.truth.summary()["creations"] == 1


async def test_an_announced_pause_is_surely_not_done(tmp_path: Path) -> None:
    async with far_side(tmp_path) as (portal, sink, request):
        await portal.arm(Rule(trouble="unavailable", operation="create", retry_after=9))
        error = await refusal(sink, request)
        assert isinstance(error, TransientError)
        assert (error.reason, error.retry_after) == (Reason.TARGET_UNAVAILABLE, 9.0)


@pytest.mark.parametrize("code", ["0", "3", "-3"])
async def test_already_there_by_each_known_code(tmp_path: Path, code: str) -> None:
    async with far_side(tmp_path) as (portal, sink, request):
        await portal.arm(Rule(trouble="already_exists", operation="create", code=code))
        assert (await refusal(sink, request)).reason is Reason.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("trouble", "tls", "reason"),
    [
        ("refuse", False, Reason.CONNECTION_REFUSED),
        ("connect_timeout", False, Reason.CONNECT_TIMEOUT),
        ("connect_timeout", True, Reason.CONNECT_TIMEOUT),
        ("tls_expired", True, Reason.TLS_FAILURE),
        ("tls_unknown_ca", True, Reason.TLS_FAILURE),
    ],
)
async def test_no_connection_is_surely_not_done(
    tmp_path: Path, trouble: str, tls: bool, reason: Reason
) -> None:
    # Without a kept connection: losing one of those is another trouble.
    changes: dict[str, Any] = SHORT | {"idle_connection_seconds": 0.001}
    async with far_side(tmp_path, tls=tls, **changes) as (portal, sink, request):
        await portal.arm(Rule(trouble=trouble, seconds=600.0))
        error = await refusal(sink, request)
        assert isinstance(error, TransientError)
        assert error.reason is reason
        await portal.clear_faults()
        await sink.create(request, samples.intent())
        assert portal.truth.summary()["creations"] == 1


async def test_a_name_that_nobody_knows_is_surely_not_done(tmp_path: Path) -> None:
    settings = samples.settings("http://portal.invalid/portal")
    sink = NationalPortal(settings, load_dialect("adapter"), samples.SEALER, samples.HASHER)
    await sink.open()
    try:
        error = await refusal(sink, sink.state_request(samples.event(), samples.codes()))
    finally:
        await sink.close()
    assert isinstance(error, TransientError)
    assert error.reason is Reason.DNS_FAILURE
