"""The national portal's sink under the sink contract: both contracts of the wire, every kind of look-up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.simulator import PortalSimulator, Profile
from connectors.national_portal.sink import NationalPortal
from connectors.protocols import Lookup, Sink
from schemas.records import DossierEvent, SourceStatus
from tests.contract.sink_contract import LookUpContract, SinkContract, World
from tests.unit.national_portal import samples

ALTERNATE = Path(__file__).parents[1] / "fixtures" / "national_portal" / "alternate"
STEP_TEXTS = ("Tiếp nhận hồ sơ", "Chuyển phòng <chuyên môn>", "Trình lãnh đạo ký & trả")


class PortalFarSide:
    """The simulator through its control port, as an integration team would use it."""

    def __init__(self, portal: PortalSimulator, http: aiohttp.ClientSession) -> None:
        self._portal = portal
        self._http = http

    async def _post(self, path: str, content: Any) -> None:
        async with self._http.post(self._portal.control_url + path, json=content) as answer:
            assert answer.status == 200, await answer.text()

    async def _get(self, path: str, **query: str) -> Any:
        async with self._http.get(self._portal.control_url + path, params=query) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def trouble(self, name: str, **rule: Any) -> None:
        await self._post("/_control/faults", {"trouble": name, **rule})

    async def clear(self) -> None:
        async with self._http.delete(self._portal.control_url + "/_control/faults") as answer:
            assert answer.status == 200

    async def end_sessions(self) -> None:
        self._portal.portal.forget_sessions()

    async def statuses(self, code: str) -> list[str]:
        return [version["status"] for version in await self._effects(code, "versions")]

    async def step_texts(self, code: str) -> list[str]:
        return [step["text"] for step in await self._effects(code, "steps")]

    async def _effects(self, code: str, kind: str) -> list[dict[str, Any]]:
        page = (await self._get("/_truth/dossiers", code=code))["dossiers"]
        return list(page[0][kind]) if page else []

    async def message_ids(self) -> list[str]:
        calls = (await self._get("/_truth/calls"))["calls"]
        return [call["message_id"] for call in calls]


class PortalWorld:
    """The world around the portal's simulator."""

    dialect = "adapter"
    contract: str | Path = "adapter"
    lookup = Lookup.EXISTENCE

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        profile = Profile(
            lookup=self.lookup.value, username=samples.USERNAME, password=samples.PASSWORD
        )
        made: list[NationalPortal] = []
        async with (
            PortalSimulator(
                tmp_path / "truth.db", profile=profile, contract=self.contract
            ) as portal,
            aiohttp.ClientSession() as http,
        ):

            async def make_sink(**changes: Any) -> Sink[DossierEvent]:
                settings = samples.settings(
                    portal.url, **({"abilities": {"lookup": self.lookup}} | changes)
                )
                sink = NationalPortal(
                    settings, load_dialect(self.dialect), samples.SEALER, samples.HASHER
                )
                made.append(sink)
                await sink.open()
                return sink

            event = samples.event()
            try:
                yield World(
                    sink=await make_sink(),
                    far=PortalFarSide(portal, http),
                    codes=samples.codes(),
                    event=event,
                    changed=replace(
                        event,
                        business_state=SourceStatus(status="finished", sub_status=None),
                        times=replace(event.times, finished=samples.at(24)),
                    ),
                    steps=tuple(
                        samples.stepped(text, minute) for minute, text in enumerate(STEP_TEXTS)
                    ),
                    step_texts=STEP_TEXTS,
                    intent=samples.intent,
                    another=lambda n: replace(event, dossier_code=f"{event.dossier_code}-{n}"),
                    wrong={"password": "etwas-anderes"},
                    secrets=samples.SECRETS,
                    make_sink=make_sink,
                )
            finally:
                for sink in made:
                    await sink.close()


class TestAdapterExistence(PortalWorld, SinkContract):
    pass


class TestAdapterState(PortalWorld, LookUpContract):
    lookup = Lookup.STATE


class TestAdapterSteps(PortalWorld, LookUpContract):
    lookup = Lookup.STEPS


class TestAlternate(PortalWorld, SinkContract):
    """Another WSDL by configuration alone: namespace, names, nesting, dates, success test."""

    dialect = str(ALTERNATE / "dialect.toml")
    contract = ALTERNATE / "contract.toml"
    lookup = Lookup.STEPS
