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

HEAD = ScriptDirectory.from_config(migrate.configuration()).get_current_head() or ""
"""The newest migration there is; the tests add others behind it."""

NEXT, AFTER_NEXT = (f"{int(HEAD) + further:04}" for further in (1, 2))

ANOTHER = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"
branch_labels = None
depends_on = None
works_from = "{works_from}"


def upgrade() -> None:
    op.add_column("events", sa.Column("{column}", sa.Text(), nullable=True))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def write_migration(
    scripts: Path, *, revision: str, down_revision: str, column: str, works_from: str
) -> None:
    text = ANOTHER.format(
        revision=revision, down_revision=down_revision, column=column, works_from=works_from
    )
    (scripts / "versions" / f"m{revision}_{column}.py").write_text(text)


def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, works_from: str) -> None:
    """Become the version that knows one migration more; the patch undone is the old one again."""
    (folder,) = migrations.__path__
    scripts = tmp_path / f"migrations-{works_from}"
    shutil.copytree(folder, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    write_migration(
        scripts, revision=NEXT, down_revision=HEAD, column="colour", works_from=works_from
    )
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
            next_version(tmp_path, new, works_from=HEAD)
            upgrade(url)
            require_current(url)
        assert revision(url) == NEXT
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
        next_version(tmp_path, new, works_from=HEAD)
        upgrade(url)
    upgrade(url)
    assert revision(url) == NEXT


async def test_an_old_worker_is_refused_where_the_new_tables_need_the_new_version(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from=NEXT)
        upgrade(url)
        require_current(url)
    for refused in (require_current, upgrade):
        with pytest.raises(LedgerMismatch, match=f"{NEXT}.*from {NEXT} on.*knows {HEAD}.*install"):
            refused(url)
    with pytest.raises(LedgerMismatch, match="install the version"):
        async with SqlLedger(url):
            pytest.fail("it opened")


def test_a_new_worker_waits_for_the_migration(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    next_version(tmp_path, monkeypatch, works_from=HEAD)
    with pytest.raises(LedgerMismatch, match=f"at migration {HEAD}.*needs {NEXT}.*db upgrade"):
        require_current(url)


def test_a_later_migration_does_not_lower_what_an_earlier_one_asks(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(url)
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from=NEXT)
        write_migration(
            Path(migrate.SCRIPTS),
            revision=AFTER_NEXT,
            down_revision=NEXT,
            column="shade",
            works_from=HEAD,
        )
        upgrade(url)
    assert revision(url) == AFTER_NEXT
    with pytest.raises(LedgerMismatch, match=f"from {NEXT} on"):
        require_current(url)


def test_a_ledger_that_lacks_what_an_old_program_needs_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as new:
        next_version(tmp_path, new, works_from=HEAD)
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
