"""Workers of two versions side by side, and a program taken back: a ledger that a newer version migrated."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from schemas.ledger import migrate, migrations
from schemas.ledger.migrate import require_current, upgrade
from schemas.ledger.model import LedgerMismatch
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk, make_event

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
works_from = "{works_from}"


def upgrade() -> None:
    op.add_column("events", sa.Column("colour", sa.Text(), nullable=True))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, works_from: str) -> None:
    """Become the version that knows one migration more; the patch undone is the old one again."""
    (folder,) = migrations.__path__
    scripts = tmp_path / f"migrations-{works_from}"
    shutil.copytree(folder, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "m0003_colour.py").write_text(NEXT.format(works_from=works_from))
    monkeypatch.setattr(migrate, "SCRIPTS", str(scripts))


def revision(url: str) -> object:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


async def test_an_old_worker_goes_on_and_restarts_on_the_new_ledger(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    async with SqlLedger(url) as running:
        desk = await Desk.open(running)
        with monkeypatch.context() as new:
            next_version(tmp_path, new, works_from="0002")
            upgrade(url)
            require_current(url)
        assert revision(url) == "0003"
        await desk.put(make_event("e1"))
    require_current(url)
    async with SqlLedger(url) as restarted:
        desk = await Desk.open(restarted)
        await desk.put(make_event("e2", version=2))
        (work,) = await desk.runnable()
        assert {row.event_id for row in work.rows} == {"e1", "e2"}


def test_an_old_program_s_upgrade_leaves_a_newer_ledger_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from="0002")
        upgrade(url)
    upgrade(url)
    assert revision(url) == "0003"


async def test_an_old_worker_is_refused_where_the_new_tables_need_the_new_version(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from="0003")
        upgrade(url)
        require_current(url)
    for refused in (require_current, upgrade):
        with pytest.raises(LedgerMismatch, match=r"0003.*from 0003 on.*knows 0002.*install"):
            refused(url)
    with pytest.raises(LedgerMismatch, match="install the version"):
        async with SqlLedger(url):
            pytest.fail("it opened")


def test_a_new_worker_waits_for_the_migration(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    next_version(tmp_path, monkeypatch, works_from="0002")
    with pytest.raises(LedgerMismatch, match=r"at migration 0002.*needs 0003.*db upgrade"):
        require_current(url)


def test_a_later_migration_does_not_lower_what_an_earlier_one_asks(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from="0003")
        third = NEXT.format(works_from="0002").replace('"0003"', '"0004"')
        third = third.replace('down_revision = "0002"', 'down_revision = "0003"')
        versions = Path(migrate.SCRIPTS) / "versions"
        (versions / "m0004_shade.py").write_text(third.replace("colour", "shade"))
        upgrade(url)
    assert revision(url) == "0004"
    with pytest.raises(LedgerMismatch, match="from 0003 on"):
        require_current(url)


def test_a_ledger_that_lacks_what_an_old_program_needs_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from="0002")
        upgrade(url)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DROP TABLE claims")
    with pytest.raises(LedgerMismatch, match="lacks claims"):
        require_current(url)


def test_every_migration_says_which_code_bears_it() -> None:
    scripts = ScriptDirectory.from_config(migrate.configuration())
    chain = [script.revision for script in scripts.walk_revisions()][::-1]
    for script in scripts.walk_revisions():
        asked = script.module.works_from
        assert asked in chain[: chain.index(script.revision) + 1], script.revision
