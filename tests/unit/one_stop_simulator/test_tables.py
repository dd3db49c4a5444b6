"""The tables are those of OpenCPS v2, on every database."""

from __future__ import annotations

import pytest
from sqlalchemy import create_mock_engine
from sqlalchemy.schema import CreateTable

from connectors.one_stop.simulator import schema
from tests.unit.one_stop_simulator.playing import Stage

COLUMNS = {
    "opencps_dossier": 102,
    "opencps_dossieraction": 31,
    "opencps_dossierfile": 27,
    "opencps_paymentfile": 36,
    "opencps_serviceinfomapping": 11,
    "opencps_dossierstatusmapping": 10,
    "opencps_processstep": 24,
    "opencps_processaction": 32,
    "opencps_dictcollection": 14,
    "opencps_dictitem": 19,
}
ZONELESS = {
    "sqlite://": '"modifiedDate" DATETIME',
    "postgresql+psycopg://": '"modifiedDate" TIMESTAMP WITHOUT TIME ZONE',
    "mysql+pymysql://": "`modifiedDate` DATETIME(6)",
}


def test_every_column_is_there() -> None:
    assert {name: len(t.columns) for name, t in schema.metadata.tables.items()} == COLUMNS


@pytest.mark.parametrize("url", ZONELESS)
def test_mixed_case_names_are_quoted_and_times_have_no_zone(url: str) -> None:
    engine = create_mock_engine(url, lambda *_, **__: None)
    ddl = str(CreateTable(schema.dossier).compile(dialect=engine.dialect))
    assert ZONELESS[url] in ddl
    assert "dossierId BIGINT" not in ddl  # unquoted, PostgreSQL would fold it to lower case


def test_every_used_code_is_shipped_with_a_mapping(full_day: Stage) -> None:
    services = {m["serviceCode"] for m in full_day.rows("opencps_serviceinfomapping")}
    agencies = {i["itemCode"] for i in full_day.rows("opencps_dictitem")}
    statuses = {m["statusCode"] for m in full_day.rows("opencps_dossierstatusmapping")}
    steps = {s["dossierStatus"] for s in full_day.rows("opencps_processstep") if s["dossierStatus"]}
    dossiers = full_day.rows("opencps_dossier")
    assert {d["serviceCode"] for d in dossiers} <= services
    assert {d["govAgencyCode"] for d in dossiers} <= agencies
    assert steps - statuses == {"handover", "correcting"}
