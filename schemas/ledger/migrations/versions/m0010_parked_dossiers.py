"""The view of what is parked tells of dossiers only: the ledger now holds reports as well.

Revision: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""A view is told otherwise, with the columns that it had."""

# Every dossier of which anything was taken in has a row of its own, and a report has none.
_PARKED = """
SELECT d.target, d.reason, f.agency_code AS agency, COUNT(*) AS deliveries,
       COUNT(DISTINCT d.dossier_id) AS dossiers, MIN(d.enlisted_at) AS oldest_at
FROM deliveries AS d JOIN dossiers AS o ON o.dossier_id = d.dossier_id
LEFT JOIN figures AS f ON f.dossier_id = d.dossier_id
WHERE d.state = 'parked' GROUP BY d.target, d.reason, f.agency_code
"""


def upgrade() -> None:
    """Make the view again. PostgreSQL keeps the rights on a view that is replaced; SQLite has none."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE VIEW v_rates_parked AS {_PARKED}")
    else:
        op.execute("DROP VIEW v_rates_parked")
        op.execute(f"CREATE VIEW v_rates_parked AS {_PARKED}")
