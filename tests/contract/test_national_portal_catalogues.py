"""The catalogue reads, under both contracts of the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.errors import MisconfiguredError, TransientError
from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.simulator import PortalSimulator, Profile
from connectors.national_portal.sink import NationalPortal
from schemas.reasons import Reason
from tests.unit.national_portal import samples

ALTERNATE = Path(__file__).parents[1] / "fixtures" / "national_portal" / "alternate"
CONTRACTS = {
    "adapter": ("adapter", "adapter"),
    "alternate": (str(ALTERNATE / "dialect.toml"), str(ALTERNATE / "contract.toml")),
}


@pytest.fixture(params=list(CONTRACTS.values()), ids=list(CONTRACTS))
async def portal(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[PortalSimulator, NationalPortal]]:
    dialect, contract = request.param
    profile = Profile(username=samples.USERNAME, password=samples.PASSWORD)
    async with PortalSimulator(
        tmp_path / "truth.db", profile=profile, contract=contract
    ) as simulator:
        sink = NationalPortal(
            samples.settings(simulator.url), load_dialect(dialect), samples.SEALER, samples.HASHER
        )
        await sink.open()
        try:
            yield simulator, sink
        finally:
            await sink.close()


async def test_procedures(portal: tuple[PortalSimulator, NationalPortal]) -> None:
    simulator, sink = portal
    listed = await sink.procedures()
    held = simulator.portal.catalogue.procedures
    assert {(each["code"], each["name"]) for each in listed} == {
        (each["code"], each["name"]) for each in held
    }


async def test_one_procedure(portal: tuple[PortalSimulator, NationalPortal]) -> None:
    simulator, sink = portal
    held = simulator.portal.catalogue.procedures[0]
    found = await sink.procedure(held["code"])
    assert found is not None
    assert (found["code"], found["name"]) == (held["code"], held["name"])
    assert await sink.procedure("9.999999") is None


async def test_agencies(portal: tuple[PortalSimulator, NationalPortal]) -> None:
    simulator, sink = portal
    listed = await sink.agencies()
    assert [each["code"] for each in listed] == [
        each["code"] for each in simulator.portal.catalogue.agencies
    ]


async def test_reading_catalogues_has_no_effect(
    portal: tuple[PortalSimulator, NationalPortal],
) -> None:
    simulator, sink = portal
    await sink.agencies()
    await sink.procedures()
    summary = await simulator.desk.run(simulator.truth.summary)
    assert summary["effects"] == 0


async def test_a_portal_that_is_not_there_is_transient(
    portal: tuple[PortalSimulator, NationalPortal],
) -> None:
    nowhere = samples.settings("http://127.0.0.1:1/")
    sink = NationalPortal(nowhere, load_dialect("adapter"), samples.SEALER, samples.HASHER)
    await sink.open()
    with pytest.raises(TransientError) as failed:
        await sink.agencies()
    assert failed.value.reason is Reason.CONNECTION_REFUSED
    await sink.close()


async def test_speaking_the_wrong_contract_stops_a_probe(
    portal: tuple[PortalSimulator, NationalPortal],
) -> None:
    simulator, _ = portal
    # The adapter speaks to the alternate contract and the other way round.
    other = "adapter" if simulator.wire.contract.name != "adapter" else CONTRACTS["alternate"][0]
    sink = NationalPortal(
        samples.settings(simulator.url), load_dialect(other), samples.SEALER, samples.HASHER
    )
    await sink.open()
    with pytest.raises(MisconfiguredError) as failed:
        await sink.probe()
    assert failed.value.reason is Reason.CONTRACT_MISMATCH
    await sink.close()
