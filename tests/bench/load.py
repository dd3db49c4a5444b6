"""What every contender sends: one state each of distinct dossiers, the same but for the code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.sink import NationalPortal
from connectors.protocols import StateRequest
from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, MappingRow
from schemas.ledger.sql import SqlLedger
from schemas.records import DossierEvent
from schemas.sealing import Hasher, Sealer, new_key, seal_person
from streams.settings import PREFIX, Settings
from tests.unit.national_portal.samples import PERSON, SOURCE
from tests.unit.national_portal.samples import event as sample

PARTITIONS = 16

MAPPINGS = tuple(
    MappingRow(
        codelist=codelist,
        system=SOURCE,
        code=code,
        value=value,
        name=name,
        origin=MappingOrigin.OPERATOR,
    )
    for codelist, code, value, name in (
        (CodeList.PROCEDURE, "KS-01", "1.001193", "Thủ tục đăng ký khai sinh"),
        (CodeList.AGENCY, "UBND-AX", "H12.40", "Ủy ban nhân dân xã An Xuyên"),
        (CodeList.STATUS, "processing", "processing", None),
    )
)


def environment(contender: str, folder: Path, portal: str, bootstrap: str) -> dict[str, str]:
    """Settings of one contender, as variables; all but these are the hub's own defaults."""
    ours = {
        "ENVIRONMENT": "bench",
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA__EMBEDDED": "true",
        "KAFKA__PARTITIONS": str(PARTITIONS),
        "LEDGER_URL": f"sqlite:///{folder / contender}.db",
        "MASTER_KEY": new_key(),
        "HASH_KEY": new_key(),
        "ONE_STOP__URL": f"sqlite:///{folder / 'no-source.db'}",
        "NATIONAL_PORTAL__ADDRESS": portal,
        "NATIONAL_PORTAL__USERNAME": "thongsuot",
        "NATIONAL_PORTAL__PASSWORD": "thongsuot",
        "NATIONAL_PORTAL__AGENCY_CODE": "H12",
        "NATIONAL_PORTAL__CLIENT__INSTANCE": "VN",
        "NATIONAL_PORTAL__CLIENT__MEMBER_CLASS": "GOV",
        "NATIONAL_PORTAL__CLIENT__MEMBER_CODE": "000.00.00.H12",
        "NATIONAL_PORTAL__CLIENT__SUBSYSTEM_CODE": "hub",
        "NATIONAL_PORTAL__SERVICE__INSTANCE": "VN",
        "NATIONAL_PORTAL__SERVICE__MEMBER_CLASS": "GOV",
        "NATIONAL_PORTAL__SERVICE__MEMBER_CODE": "000.00.00.G22",
        "NATIONAL_PORTAL__SERVICE__SUBSYSTEM_CODE": "vpcpdvcprovider",
        "MONITORING__PORT": "0",
        "MONITORING__LOG_FORMAT": "json",
    }
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(PREFIX)}
    return inherited | {PREFIX + name: value for name, value in ours.items()}


def settings_of(variables: Mapping[str, str]) -> Settings:
    """The settings that a contender with these variables will read."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        return Settings()  # type: ignore[call-arg] # the fields come from the environment
    finally:
        os.environ.clear()
        os.environ.update(kept)


@dataclass(frozen=True, slots=True)
class Load:
    """Makes the dossiers of one contender. `name` keeps its dossiers apart from the others'."""

    name: str
    sealer: Sealer
    portal: NationalPortal

    @classmethod
    async def of(cls, name: str, settings: Settings, ledger: SqlLedger | None = None) -> Load:
        """With the ledger's keys, or, for who has none, with a key of its own."""
        now = datetime.now(UTC)
        if ledger is not None:
            sealer = await Sealer.load(ledger, settings.master_key_bytes(), now)
        else:
            sealer = Sealer({f"{now:%Y-%m}": settings.master_key_bytes()}, f"{now:%Y-%m}")
        portal = NationalPortal(
            settings.national_portal,
            load_dialect(settings.national_portal.dialect),
            sealer,
            Hasher(settings.hash_key_bytes()),
        )
        return cls(name, sealer, portal)

    @property
    def code_format(self) -> str:
        """The dossier's code at the portal, to be formatted with its number."""
        return f"000.00.04.H12-{self.name.upper()}-{{:06d}}"

    def event(self, number: int) -> DossierEvent:
        """A received dossier in process, with one supplement, fee, attachment and result."""
        dossier_id = f"{SOURCE}-{self.name}-{number}"
        base = sample()
        return replace(
            base,
            event_id=f"{dossier_id}-1",
            dossier_id=dossier_id,
            dossier_code=self.code_format.format(number),
            step=None,
            effective_at=base.effective_at + timedelta(seconds=number),
            sealed=seal_person(self.sealer, PERSON, dossier_id),
        )

    def events(self, first: int, count: int) -> Sequence[DossierEvent]:
        """So many events from number `first` on."""
        return [self.event(number) for number in range(first, first + count)]

    def request(self) -> StateRequest:
        """What the hub's mapping makes of such an event."""
        return self.portal.state_request(self.event(0), Codes(MAPPINGS))
