"""The reporting system's sink under the sink contract: XML, JSON and SOAP, both kinds of look-up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.errors import RejectedError
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.simulator import ReportingSimulator
from connectors.gov_reporting.sink import GovReporting
from connectors.protocols import Lookup, Sink
from schemas.reasons import Reason
from schemas.records import ReportPacket
from tests.contract.sink_contract import LookUpContract, StateSinkContract, World
from tests.unit.gov_reporting import samples

TROUBLES = {"truncated_xml": "truncated", "expired_session": "expired_token"}
WORDS = {"login": "token", "dossier": "report"}


class ReportingFarSide:
    """The simulator through its control port, as an integration team would use it."""

    def __init__(self, system: ReportingSimulator, http: aiohttp.ClientSession) -> None:
        self._system = system
        self._http = http

    async def _post(self, path: str, content: Any) -> None:
        async with self._http.post(self._system.control_url + path, json=content) as answer:
            assert answer.status == 200, await answer.text()

    async def _get(self, path: str, **query: str) -> Any:
        async with self._http.get(self._system.control_url + path, params=query) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def trouble(self, name: str, **rule: Any) -> None:
        rule = {key: WORDS.get(str(value), value) for key, value in rule.items()}
        await self._post("/_control/faults", {"trouble": TROUBLES.get(name, name), **rule})

    async def clear(self) -> None:
        async with self._http.delete(self._system.control_url + "/_control/faults") as answer:
            assert answer.status == 200

    async def end_sessions(self) -> None:
        async with self._http.delete(self._system.control_url + "/_control/tokens") as answer:
            assert answer.status == 200

    async def statuses(self, code: str) -> list[str]:
        page = (await self._get("/_truth/reports", report=code))["reports"]
        return [str(each["revision"]) for each in page[0]["revisions"]] if page else []

    async def step_texts(self, code: str) -> list[str]:
        return []

    async def message_ids(self) -> list[str]:
        calls = (await self._get("/_truth/calls"))["calls"]
        return [call["message_id"] for call in calls]


class ReportingWorld:
    """The world around the simulator."""

    encoding = "xml"
    lookup = Lookup.STATE
    soap = False

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        made: list[GovReporting] = []
        profile = samples.profile(lookup=self.lookup.value)
        async with (
            ReportingSimulator(tmp_path / "truth.db", profile=profile) as system,
            aiohttp.ClientSession() as http,
        ):

            async def make_sink(**changes: Any) -> Sink[ReportPacket]:
                chosen = {"encoding": self.encoding, "abilities": {"lookup": self.lookup}}
                travel = samples.soap(system) if self.soap else {}
                sink = GovReporting(
                    samples.settings(system, **(chosen | travel | changes)),
                    load_elements(),
                    samples.SEALER,
                    samples.HASHER,
                )
                made.append(sink)
                await sink.open()
                return sink

            try:
                yield World(
                    sink=await make_sink(),
                    far=ReportingFarSide(system, http),
                    codes=samples.CODES,
                    event=samples.packet(),
                    changed=samples.second(),
                    another=samples.of_unit,
                    marks=("1", "2"),
                    in_request=b"SECTOR-1",
                    intent=samples.intent,
                    wrong={"client_secret": "ein-ganz-anderes"},
                    secrets=samples.SECRETS,
                    make_sink=make_sink,
                )
            finally:
                for sink in made:
                    await sink.close()


class TestXml(ReportingWorld, StateSinkContract):
    async def test_a_step_is_refused_without_a_call(self, world: World) -> None:
        before = await world.far.message_ids()
        with pytest.raises(RejectedError) as mapped:
            world.sink.step_request(world.event, world.codes)
        with pytest.raises(RejectedError) as sent:
            await world.sink.append_steps(world.code, [], world.intent())
        for refused in (mapped.value, sent.value):
            assert refused.reason is Reason.FIELD_INVALID
            assert "no steps" in str(refused)
        assert await world.far.message_ids() == before


class TestJson(ReportingWorld, StateSinkContract):
    encoding = "json"


class TestExistence(ReportingWorld, LookUpContract):
    lookup = Lookup.EXISTENCE


class TestSoapLookUp(ReportingWorld, LookUpContract):
    soap = True


class TestSoapJsonLookUp(ReportingWorld, LookUpContract):
    soap = True
    encoding = "json"
