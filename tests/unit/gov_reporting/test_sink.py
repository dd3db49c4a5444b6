"""From a packet to a request: what is sent, what is refused before, and what a second table makes of it."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import OutcomeUnknown, RejectedError
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.sink import GovReporting
from connectors.protocols import LookupAnswer
from schemas.reasons import Reason
from schemas.records import ReportPacket
from schemas.reports import packets as p
from schemas.reports.kinds import PacketKind
from schemas.sealing import Sealer
from tests.unit.gov_reporting import samples
from tests.unit.national_portal.raw_server import RawServer, http
from tests.unit.reports.contents import REGIME

OTHER = Path(__file__).parents[2] / "fixtures" / "gov_reporting" / "other-elements.toml"
SINK = GovReporting(samples.settings(), load_elements(), samples.SEALER, samples.HASHER)


def test_the_code_is_the_reports_id() -> None:
    request = SINK.state_request(samples.packet(), samples.CODES)
    assert request.code == "figures/II.06/II.06a/2026-08/H44"


def test_what_a_look_up_shows_is_revision_and_hash() -> None:
    request = SINK.state_request(samples.second(), samples.CODES)
    assert SINK.shown(request) == {"revision": "2", "hash": samples.second().snapshot_hash}


def test_every_revision_has_a_hash_of_its_own_even_with_the_same_figures() -> None:
    """Else the engine would take the second for unchanged, and the third would leave a hole."""
    first = SINK.state_request(samples.packet(), samples.CODES)
    same = SINK.state_request(samples.packet(revision=2), samples.CODES)
    again = SINK.state_request(samples.packet(), samples.CODES)
    assert first.content_hash == again.content_hash != same.content_hash


STRANGE = Sealer({"2026-08": os.urandom(32)}, "2026-08")
CANONICAL = p.canonical(samples.figures())
REPORT_ID = samples.packet().report_id


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (samples.packet(report_id="figures/II.06/II.06a/2026-09/H44"), "report_id"),
        (samples.packet(revision=0), "counted from 1"),
        (samples.packet(REGIME), "never sent"),
        (replace(samples.packet(), sealed=samples.seal(p.canonical(REGIME), REPORT_ID)), "another kind"),
        (replace(samples.packet(), sealed=b"x" * 90), "sealed"),
        (replace(samples.packet(), sealed=STRANGE.seal(zlib.compress(CANONICAL), REPORT_ID)), "sealed"),
        (replace(samples.packet(), sealed=samples.seal(CANONICAL, "figures/another")), "sealed"),
        (replace(samples.packet(), sealed=samples.SEALER.seal(CANONICAL, REPORT_ID)), "no deflated"),
        (
            replace(samples.packet(), sealed=samples.SEALER.seal(zlib.compress(CANONICAL)[:-8], REPORT_ID)),
            "cut short",
        ),
        (replace(samples.packet(), sealed=samples.seal(b'{"kind": "figures"}', REPORT_ID)), "sealed"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_packet_that_cannot_be_sent_is_refused_without_its_content(
    packet: ReportPacket, words: str
) -> None:
    with pytest.raises(RejectedError) as refused:
        SINK.state_request(packet, samples.CODES)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert words in str(refused.value)
    assert not any(secret in str(refused.value) for secret in samples.SECRETS)


async def test_a_packet_that_is_too_large_is_refused_before_the_call() -> None:
    small = samples.settings(request_limit_bytes=1024)
    sink = GovReporting(small, load_elements(), samples.SEALER, samples.HASHER)
    request = sink.state_request(samples.packet(), samples.CODES)
    with pytest.raises(RejectedError) as refused:
        await sink.create(request, samples.intent())
    assert refused.value.reason is Reason.FIELD_TOO_LONG
    assert "request_limit_bytes=1024" in str(refused.value)


# --- a second table, through the same code ---------------------------------------------------------


class OtherSystem:
    """Answers in the other table's words: paths, names, codes, dates, numbers as text, JSON."""

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        self.asked: list[tuple[str, str]] = []

    async def reply(self, request: bytes, number: int) -> bytes | None:
        head, _, body = request.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append((method, path))
        if path.endswith("/token"):
            return _json({"access_token": "t", "expires_in": "300"})
        (echo,) = (
            line.split(b": ", 1)[1].decode()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"idempotency-key")
        )
        status = {"code": 0, "text": "done"}
        if path.endswith("/v2/messages"):
            self.held = json.loads(body)["message"]
            about = {"period": "08/2026", "orgCode": "H44", "revisionNo": "1"}
            about["revisionNo"] = self.held["meta"]["head"]["revisionNo"]
            return _json({"status": status, "echo": echo, "report": about, "receipt": {"no": 12}})
        held = {}
        if self.held is not None:
            inner = self.held["meta"]["head"]
            held = {
                "revisionNo": int(inner["revisionNo"]),
                "digest": inner["digest"],
                "state": "02",
            }
        return _json(
            {"reply": {"status": status, "echo": echo, "found": "Y" if held else "N", "held": held}}
        )


def _json(tree: Any) -> bytes:
    return http(json.dumps(tree).encode(), headers="Content-Type: application/json")


async def test_a_second_table_works_by_configuration_alone() -> None:
    system = OtherSystem()
    async with RawServer(system.reply) as server:
        settings = samples.settings(
            address=server.url, token_address=f"{server.url}/token", encoding="json", elements=OTHER
        )
        sink = GovReporting(
            settings, load_elements(settings.elements), samples.SEALER, samples.HASHER
        )
        await sink.open()
        try:
            request = sink.state_request(samples.packet(), samples.CODES)
            assert await sink.look_up(request.code) == LookupAnswer(present=False)
            receipt = await sink.create(request, samples.intent())
            assert receipt.reference == "12"
            answer = await sink.look_up(request.code)
            assert answer.state == {**sink.shown(request), "status": "accepted"}
            newer = sink.state_request(samples.second(), samples.CODES)
            await sink.update(newer, samples.intent())
        finally:
            await sink.close()
    assert system.held is not None
    assert system.held["meta"]["head"]["from"] == "15/07/2026"
    assert system.held["payload"]["value"]["line"][0]["cells"]["col_3"] == "11"
    assert [each for each in system.asked if "token" not in each[1]] == [
        ("POST", "/portal/v2/find"),
        ("POST", "/portal/v2/messages"),
        ("POST", "/portal/v2/find"),
        ("PUT", "/portal/v2/messages"),
    ]


async def test_a_put_whose_connection_is_lost_is_not_repeated_by_the_library() -> None:
    """aiohttp repeats a PUT on a kept connection by itself; that must not write twice."""
    system = OtherSystem()
    puts = 0

    async def reply(request: bytes, number: int) -> bytes | None:
        nonlocal puts
        if request.startswith(b"PUT"):
            puts += 1
            return None
        return await system.reply(request, number)

    async with RawServer(reply) as server:
        settings = samples.settings(
            address=server.url, token_address=f"{server.url}/token", encoding="json"
        )
        sink = GovReporting(settings, load_elements(OTHER), samples.SEALER, samples.HASHER)
        await sink.open()
        try:
            await sink.probe()
            request = sink.state_request(samples.second(), samples.CODES)
            with pytest.raises(OutcomeUnknown) as unknown:
                await sink.update(request, samples.intent())
        finally:
            await sink.close()
    assert unknown.value.reason is Reason.CONNECTION_LOST
    assert puts == 1


def test_an_outline_is_sealed_text_and_never_shown() -> None:
    content = p.Outline(title=samples.NOTE, parts=(p.OutlinePart(section="I", text=samples.NOTE),))
    packet = samples.packet(content, form="XTB.01c", regime="XTB.01")
    assert packet.kind is PacketKind.OUTLINE
    request = SINK.state_request(packet, samples.CODES)
    assert samples.NOTE not in repr(request) + repr(packet) + repr(SINK)
    assert samples.NOTE not in repr(request.body["document"])
