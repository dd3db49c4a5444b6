"""A second version of the hub, made of this one: what a release that changes schemas and tables brings.

- one more version of the dossier event, with an optional field that has a default, and that it writes;
- one more migration, additive, that the first version bears: a column of a table in constant use, and a table.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.integration.runbooks.machine import install

FIELD = "annex"
_MIGRATION = '''\
"""One more column and one more table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision: str | None = "{before}"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "{before}"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("{field}", sa.Text(), nullable=True))
    op.add_column("dossier_target", sa.Column("{field}", sa.Text(), nullable=True))
    op.create_table(
        "annexes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annexes")),
    )
'''
# The columns are not in its model: the compiled statements of the hot paths would ask for values.
_TABLES = """

annexes = Table("annexes", metadata, Column("id", Text, primary_key=True))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondVersion:
    """`folder`: where it is installed. `event_version`: of the dossier event; `revision`: of the tables."""

    folder: Path
    event_version: int
    revision: str


def install_second(folder: Path) -> SecondVersion:
    """Install this source tree into `folder`, and make a later version of it there."""
    install(folder)
    return SecondVersion(
        folder=folder, event_version=_event_schema(folder), revision=_migration(folder)
    )


def _event_schema(folder: Path) -> int:
    schemas = folder / "schemas" / "avro" / "dossier_event"
    newest = max(int(file.stem[1:]) for file in schemas.glob("v*.avsc"))
    schema = json.loads((schemas / f"v{newest}.avsc").read_text(encoding="utf-8"))
    schema["fields"].append({"name": FIELD, "type": ["null", "string"], "default": None})
    text = json.dumps(schema, ensure_ascii=False, indent=2)
    (schemas / f"v{newest + 1}.avsc").write_text(text + "\n", encoding="utf-8")
    _edit(
        folder / "schemas" / "records.py",
        r"(class DossierEvent:.*?\n    sealed: bytes[^\n]*\n)",
        rf'\1    {FIELD}: str | None = "written by the second version"\n',
    )
    return newest + 1


def _migration(folder: Path) -> str:
    ledger = folder / "schemas" / "ledger"
    versions = ledger / "migrations" / "versions"
    newest = max(int(file.name[1:5]) for file in versions.glob("m*.py"))
    before, revision = f"{newest:04d}", f"{newest + 1:04d}"
    text = _MIGRATION.format(revision=revision, before=before, field=FIELD)
    (versions / f"m{revision}_annexes.py").write_text(text, encoding="utf-8")
    tables = ledger / "tables.py"
    tables.write_text(tables.read_text(encoding="utf-8") + _TABLES, encoding="utf-8")
    return revision


def _edit(file: Path, pattern: str, replacement: str) -> None:
    text, number = re.subn(
        pattern, replacement, file.read_text(encoding="utf-8"), count=1, flags=re.DOTALL
    )
    assert number == 1, f"{file} is not what it was: {pattern}"
    file.write_text(text, encoding="utf-8")
