"""What of a packet's identity cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.records import ReportPacket
from schemas.reports.kinds import INCOMING, OUTGOING, PacketKind
from streams.packets_flow import fault
from tests.contract.packets_contract import REPORT, make_packet

KEY = REPORT.encode()


def test_a_packet_of_its_report_is_sound() -> None:
    assert fault(make_packet(7), KEY) is None


@pytest.mark.parametrize("kind", PacketKind)
def test_only_kinds_that_the_province_sends_are_owed(kind: PacketKind) -> None:
    found = fault(replace(make_packet(1), kind=kind), KEY)
    assert (found is None) == (kind in OUTGOING)
    assert kind in OUTGOING | INCOMING


@pytest.mark.parametrize(
    ("packet", "key", "named"),
    [
        (replace(make_packet(1), revision=0), KEY, "revision"),
        (replace(make_packet(1), revision=-1), KEY, "revision"),
        (replace(make_packet(1), packet_id=f"{REPORT}/r2"), KEY, "packet_id"),
        (replace(make_packet(1), packet_id="another"), KEY, "packet_id"),
        (make_packet(1), b"another", "key"),
        (make_packet(1), None, "key"),
    ],
)
def test_what_does_not_fit_is_named_without_its_value(
    packet: ReportPacket, key: bytes | None, named: str
) -> None:
    found = fault(packet, key)
    assert found is not None
    assert found.startswith(f"{named}:")
    assert "another" not in found
