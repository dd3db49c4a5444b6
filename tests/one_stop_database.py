"""A small one-stop database to write to in tests, and a capture that remembers, without Kafka or ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)

from connectors.one_stop.config import OneStopSettings
from connectors.one_stop.simulator import schema
from connectors.one_stop.source import OneStopSource
from connectors.protocols import Page
from schemas.ledger.model import SeenRow
from schemas.records import Feed, Notice
from schemas.sealing import Hasher, Sealer

GROUP = 35301
PROCESS = 1
SEALER = Sealer({"2026-11": b"k" * 32}, "2026-11")
HASHER = Hasher(b"h" * 32)
START = datetime(2025, 11, 3, 8, 0, 0)  # noqa: DTZ001 - the database keeps local times without a zone

STEPS = {  # step code -> (status, sub-status)
    "100": ("new", ""),
    "110": ("receiving", ""),
    "120": ("", ""),
    "200": ("processing", ""),
    "210": ("waiting", ""),
    "215": ("waiting", "waiting_tax"),
    "300": ("releasing", ""),
    "400": ("done", ""),
    "410": ("cancelled", ""),
    "420": ("denied", ""),
}


class World:
    """One one-stop database. Every method that writes commits at once, unless given a connection."""

    def __init__(self, engine: Engine, settings: OneStopSettings) -> None:
        self.engine = engine
        self.settings = settings
        self._second = 0
        self.next_dossier = 1
        self.next_action = 101
        self.next_other = 1
        self.sources: list[OneStopSource] = []

    # --- reading --------------------------------------------------------------------------------

    def source(self, **changes: Any) -> OneStopSource:
        """A new source on this database, as after a restart."""
        settings = self.settings.model_copy(update=changes)
        source = OneStopSource(settings, SEALER, HASHER)
        self.sources.append(source)
        return source

    async def close(self) -> None:
        for source in self.sources:
            await source.close()
        self.sources.clear()
        self.engine.dispose()

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(table))]

    @contextmanager
    def during_read(self, source: OneStopSource, write: Callable[[], None]) -> Iterator[None]:
        """Call `write` once, after the page has found what it touches and before it reads the dossiers."""
        fired = False

        def before(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            nonlocal fired
            if not fired and "applicantName" in statement:
                fired = True
                write()

        engine = source._database.engine
        event.listen(engine, "before_cursor_execute", before)
        try:
            yield
        finally:
            event.remove(engine, "before_cursor_execute", before)
        assert fired, "the page read no dossier"

    # --- writing --------------------------------------------------------------------------------

    def tick(self, seconds: int = 1) -> datetime:
        self._second += seconds
        return START + timedelta(seconds=self._second)

    def ship(self) -> None:
        with self.engine.begin() as connection:
            for number, (code, (status, sub_status)) in enumerate(STEPS.items(), start=1):
                row = {
                    "processStepId": number,
                    "uuid_": str(uuid4()),
                    "groupId": GROUP,
                    "serviceProcessId": PROCESS,
                    "stepCode": code,
                    "dossierStatus": status,
                    "dossierSubStatus": sub_status,
                }
                connection.execute(insert(schema.processstep), row)
            for number, (status, sub_status, national) in enumerate(
                [("waiting", "", "5"), ("waiting", "waiting_tax", "6"), ("pausing", "", "8")],
                start=1,
            ):
                row = {
                    "dossierStatusMappingId": number,
                    "groupId": GROUP,
                    "statusCode": status,
                    "subStatusCode": sub_status,
                    "statusCodeDVCQG": national,
                }
                connection.execute(insert(schema.dossierstatusmapping), row)

    @contextmanager
    def _in(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
        else:
            with self.engine.begin() as own:
                yield own

    def dossier(self, connection: Connection | None = None, **columns: Any) -> int:
        number = columns.pop("dossierId", None) or self.next_dossier
        self.next_dossier = max(self.next_dossier, number) + 1
        at = columns.pop("at", None) or self.tick()
        row = {
            "dossierId": number,
            "uuid_": str(uuid4()),
            "groupId": GROUP,
            "createDate": at,
            "modifiedDate": at,
            "referenceUid": str(uuid4()),
            "dossierNo": f"H12.20-20261102-{number:05d}",
            "serviceCode": "1.001612",
            "serviceName": "Đăng ký thành lập hộ kinh doanh",
            "govAgencyCode": "H12.20",
            "govAgencyName": "Sở Xây dựng",
            "applicantName": "Nguyễn Thị Hư Cấu",
            "applicantIdType": "citizen",
            "applicantIdNo": "000000000000",
            "contactTelNo": "0000000000",
            "dossierStatus": "new",
            "dossierSubStatus": "",
            "dossierActionId": 0,
            "password_": "never-to-be-read",
            "vnpostalProfile": "never-to-be-read",
            "online_": False,
            "originality": 3,
            "originDossierId": 0,
            "originDossierNo": "",
            "viaPostal": 1,
            **columns,
        }
        with self._in(connection) as c:
            c.execute(insert(schema.dossier), row)
        return number

    def act(
        self,
        dossier: int,
        step: str = "200",
        connection: Connection | None = None,
        **columns: Any,
    ) -> int:
        """An action of the dossier, and what it does to the dossier's row."""
        number = columns.pop("dossierActionId", None) or self.next_action
        self.next_action = max(self.next_action, number + 1)
        at = columns.pop("at", None) or self.tick()
        row = {
            "dossierActionId": number,
            "uuid_": str(uuid4()),
            "groupId": GROUP,
            "createDate": at,
            "modifiedDate": at,
            "dossierId": dossier,
            "serviceProcessId": PROCESS,
            "previousActionId": 0,
            "stepCode": step,
            "actionCode": "2000",
            "actionUser": "Cán bộ Hư Cấu",
            "actionName": "Phân công thụ lý",
            "actionNote": None,
            "state_": 0,
            **columns,
        }
        status, sub_status = STEPS[step]
        changed: dict[str, Any] = {"dossierActionId": number, "modifiedDate": at}
        if status:
            changed |= {"dossierStatus": status, "dossierSubStatus": sub_status}
        with self._in(connection) as c:
            c.execute(insert(schema.dossieraction), row)
            c.execute(
                update(schema.dossier).where(schema.dossier.c.dossierId == dossier).values(changed)
            )
        return number

    def pay(self, dossier: int, amount: int = 50_000) -> int:
        number = self.next_other
        self.next_other += 1
        at = self.tick()
        row = {
            "paymentFileId": number,
            "uuid_": str(uuid4()),
            "groupId": GROUP,
            "createDate": at,
            "modifiedDate": at,
            "dossierId": dossier,
            "paymentAmount": amount,
            "paymentStatus": 2,
            "confirmPayload": "never-to-be-read",
        }
        with self.engine.begin() as c:
            c.execute(insert(schema.paymentfile), row)
        return number

    def change(self, table: Table, key: int, **values: Any) -> None:
        (column,) = table.primary_key.columns
        values = {"modifiedDate": self.tick(), **values}
        with self.engine.begin() as c:
            c.execute(update(table).where(column == key).values(values))

    def remove(self, table: Table, key: int) -> None:
        (column,) = table.primary_key.columns
        with self.engine.begin() as c:
            c.execute(delete(table).where(column == key))


class Capture:
    """The capture service in small: its log, its memory and its cursors outlive every source."""

    def __init__(self) -> None:
        self.log: list[Notice] = []
        self.memory: dict[tuple[str, str], SeenRow] = {}
        self.cursors: dict[Feed, str] = {}
        self.read_seq = 0
        self.skipped = 0

    async def seen(self, source: str, dossier_ids: Sequence[str]) -> Sequence[SeenRow]:
        wanted = set(dossier_ids)
        return [row for row in self.memory.values() if row.dossier_id in wanted]

    async def read(self, source: OneStopSource, feed: Feed, *, save: bool = True) -> Page:
        """One page: produced always, saved unless the capture "crashes" between the two."""
        self.read_seq += 1
        page = await source.read_page(feed, self.cursors.get(feed), self.read_seq, self)
        self.log += page.notices
        if save:
            self.cursors[feed] = page.cursor
            self.skipped += page.skipped
            for row in page.seen:
                self.memory[row.kind, row.row_id] = row
        return page

    async def drain(self, source: OneStopSource, *feeds: Feed) -> list[Notice]:
        """All pages of these feeds (all feeds if none is named) to their ends. The new notices."""
        start = len(self.log)
        for feed in feeds or source.feeds:
            for _ in range(10_000):
                if (await self.read(source, feed)).exhausted:
                    break
            else:
                raise AssertionError(f"{feed} never comes to an end")
        return self.log[start:]

    def told(self) -> list[Notice]:
        """What the ledger would take in: of equal ids the first."""
        first: dict[str, Notice] = {}
        for notice in self.log:
            first.setdefault(notice.notice_id, notice)
        return list(first.values())


def payload_of(notice: Notice) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(SEALER.open(notice.sealed, notice.dossier_id))
    return content


def action_of(notice: Notice) -> int | None:
    action: Mapping[str, Any] | None = payload_of(notice)["action"]
    return None if action is None else int(action["dossierActionId"])


def sqlite_world(path: Path, **settings: Any) -> World:
    """An empty database in a new file."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("pragma journal_mode=wal")
    if not path.stat().st_size or not _has_tables(engine):
        schema.create(engine)
    options = {"url": f"sqlite:///{path}", "page_size": 4, "connect_timeout_seconds": 1} | settings
    world = World(engine, OneStopSettings.model_validate(options))
    if not world.rows(schema.processstep):
        world.ship()
    return world


def copied_world(template: Path, path: Path, **settings: Any) -> World:
    """The same from a file made before: making the tables is slow."""
    shutil.copy(template, path)
    return sqlite_world(path, **settings)


def _has_tables(engine: Engine) -> bool:
    with engine.connect() as connection:
        return engine.dialect.has_table(connection, schema.dossier.name)
