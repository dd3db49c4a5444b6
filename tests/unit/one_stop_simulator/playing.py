"""Plays simulated days for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, select

from connectors.one_stop.simulator import schema
from connectors.one_stop.simulator.day import OneStopSimulator
from connectors.one_stop.simulator.journal import Entry, Journal, JournalWriter

DAY = date(2026, 11, 20)


@dataclass
class Stage:
    """A simulator with its database and journal."""

    simulator: OneStopSimulator
    engine: Engine
    journal: Journal
    writer: JournalWriter

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            found = connection.execute(select(schema.metadata.tables[table])).mappings()
            return [dict(row) for row in found]

    def row(self, table: str, key: str, value: int) -> dict[str, Any]:
        (row,) = [r for r in self.rows(table) if r[key] == value]
        return row

    def last(self) -> Entry:
        return self.journal.entries()[-1]

    def close(self) -> None:
        self.writer.close()
        self.engine.dispose()


def stage(folder: Path, name: str = "day", **options: Any) -> Stage:
    """A prepared simulator; `dossiers=0` plans nothing."""
    engine = create_engine(f"sqlite:///{folder / name}.db")
    writer = JournalWriter(folder / f"{name}.journal")
    simulator = OneStopSimulator(engine, writer, day=DAY, **options)
    simulator.prepare()
    return Stage(simulator, engine, Journal(folder / f"{name}.journal"), writer)


def without_clock(entries: list[Entry]) -> list[tuple[Any, ...]]:
    """Everything of the entries but the real time of the commits."""
    return [
        (
            e.order,
            e.dossier,
            e.write,
            e.action,
            e.step,
            e.state,
            e.parks,
            e.rival,
            e.held_step,
            e.warts,
        )
        for e in entries
    ]
