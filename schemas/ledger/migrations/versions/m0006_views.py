"""Views for Grafana: what the rates are made of, by unit and month, and what stands beside it.

Revision: 0006

They repeat what `monitoring/rates/dossier_counts.py` counts; a test holds the two together. PostgreSQL refuses
to drop or to retype a column that a view names: such a migration drops the view first and makes it again.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Views are added only: code that does not know them does not miss them."""

MONTHS = 36
"""The month that runs and those before it."""

_MONTHS_POSTGRESQL = f"""
SELECT to_char(g.first, 'YYYY-MM') AS month,
       g.first AT TIME ZONE 'Asia/Ho_Chi_Minh' AS starts_at,
       LEAST((g.first + INTERVAL '1 month') AT TIME ZONE 'Asia/Ho_Chi_Minh', now()) AS counted_until
FROM generate_series(0, {MONTHS - 1}) AS b (n),
     LATERAL (SELECT date_trunc('month', now() AT TIME ZONE 'Asia/Ho_Chi_Minh')
                     - b.n * INTERVAL '1 month' AS first) AS g
"""  # noqa: S608 # of constants, as all here

# SQLite knows no zones. Viet Nam has been seven hours ahead of UTC since 1975.
_FIRST = "'now', '+7 hours', 'start of month', '-' || b.n || ' months'"
_MONTHS_SQLITE = f"""
WITH RECURSIVE back (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM back WHERE n + 1 < {MONTHS})
SELECT strftime('%Y-%m', {_FIRST}) AS month,
       CAST(strftime('%s', {_FIRST}, '-7 hours') AS INTEGER) * 1000000 AS starts_at,
       MIN(
           CAST(strftime('%s', {_FIRST}, '+1 month', '-7 hours') AS INTEGER) * 1000000,
           CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000
       ) AS counted_until
FROM back AS b
"""  # noqa: S608

_RECEIVED = "l.way = 'received'"
_CARRIED = "l.way = 'carried'"
_FINISHED = "(l.way = 'carried' AND l.end_at IS NOT NULL)"
_OPEN = "(l.way = 'carried' AND l.end_at IS NULL)"
# Who is carried has a row for that.
_HANDLED = (
    "(l.way = 'carried' OR l.verdict IS NULL OR (l.end_at IS NOT NULL AND l.end_at < l.starts_at))"
)
_IN_TIME = (
    "CASE WHEN l.verdict <> 'undated' THEN l.verdict IN ('early', 'on_time', 'open_in_time') END"
)
_ONLINE = f"({_RECEIVED} AND l.channel = 'online')"
_FULL_PROCESS = "l.service_level = 'full'"
_HELD = "(l.born_on_portal OR COALESCE(l.known, '') = 'present')"
_MAY_OWE = f"({_RECEIVED} AND (l.financial_obligation IS NULL OR l.financial_obligation))"

# Which dossiers come into question, and the fact (null: unknown) by which they count.
_COUNTED: dict[str, tuple[str, str | None]] = {
    "received_in_period": (_RECEIVED, None),
    "channel_total": (_RECEIVED, None),
    "received_and_carried_over": (_CARRIED, None),
    "handled_in_period": (_HANDLED, None),
    "synced_received_in_period": (_RECEIVED, _HELD),
    "on_time_or_within_time": (_CARRIED, _IN_TIME),
    "finished_on_time": (_FINISHED, _IN_TIME),
    "finished": (_FINISHED, None),
    "open_within_time": (_OPEN, _IN_TIME),
    "open": (_OPEN, None),
    "online_received": (_ONLINE, None),
    "online_on_time": (_ONLINE, _IN_TIME),
    "online_with_electronic_result": (_ONLINE, "l.electronic_result OR NOT l.paper_result"),
    "full_process_online": (_ONLINE, _FULL_PROCESS),
    "full_process_eligible": (_RECEIVED, _FULL_PROCESS),
    "with_electronic_result": (_CARRIED, "l.electronic_result"),
    "digitised": (_CARRIED, "l.digitised"),
    "with_reused_data": (_CARRIED, "l.reused"),
    "in_personal_storage": (_CARRIED, "l.from_data_store"),
    "with_citizen_data": (_CARRIED, "l.population_data"),
    "paid_online": (_MAY_OWE, "l.paid_online"),
    "with_financial_obligation": (_RECEIVED, "l.financial_obligation"),
}


def _sums() -> str:
    columns = []
    for name, (among, fact) in _COUNTED.items():
        counts = among if fact is None else f"{among} AND ({fact})"
        columns.append(f"SUM(CASE WHEN {counts} THEN 1 ELSE 0 END) AS {name}")
        if fact is not None:
            unknown = f"{among} AND ({fact}) IS NULL"
            columns.append(f"SUM(CASE WHEN {unknown} THEN 1 ELSE 0 END) AS {name}_unknown")
    return ",\n       ".join(columns)


_FACTS = """f.agency_code, f.channel, f.born_on_portal, f.electronic_result, f.digitised, f.reused,
           f.from_data_store, f.population_data, f.paid_online, f.financial_obligation,
           f.service_level, f.paper_result"""
_JUDGED_THEN = """LEFT JOIN verdict_spans AS s ON s.dossier_id = f.dossier_id
           AND s.begun_at < m.counted_until AND (s.ended_at IS NULL OR s.ended_at >= m.counted_until)"""
_CARRIED_FROM = """verdict_spans AS s ON s.begun_at < m.counted_until AND {part}
           JOIN figures AS f ON f.dossier_id = s.dossier_id"""

# Three ways for a dossier to count in a month, told apart so that nothing has to be made distinct: it is
# carried (finished or open in it), it was received in it, or it was returned in it and not received. Each
# row has the judgement at the end; who was carried as well is told by that. Each part searches an index.
# The span of an end begins at the end or later, so that the bound above it leaves out nothing.
_WAYS = " UNION ALL ".join(
    f"""SELECT m.month, m.starts_at, m.counted_until, '{way}' AS way, s.verdict, s.end_at,
           {known} AS known, {_FACTS}
           FROM v_rates_months AS m JOIN {found}"""  # noqa: S608
    for way, known, found in (
        *(
            ("carried", "NULL", _CARRIED_FROM.format(part=part))
            for part in (
                "s.ended_at >= m.counted_until AND (s.end_at IS NULL OR s.end_at >= m.starts_at)",
                "s.ended_at IS NULL AND s.end_at IS NULL",
                "s.ended_at IS NULL AND s.end_at >= m.starts_at AND s.end_at < m.counted_until",
            )
        ),
        (
            "received",
            "t.known",
            f"""figures AS f ON f.received_at >= m.starts_at AND f.received_at < m.counted_until
           {_JUDGED_THEN}
           LEFT JOIN dossier_target AS t
           ON t.dossier_id = f.dossier_id AND t.target = 'national_portal'""",
        ),
        (
            "returned",
            "NULL",
            f"""figures AS f ON f.returned_at >= m.starts_at AND f.returned_at < m.counted_until
           AND (f.received_at < m.starts_at OR f.received_at >= m.counted_until
                OR f.received_at IS NULL)
           {_JUDGED_THEN}""",
        ),
    )
)

_COUNTS = f"""
SELECT l.month, MIN(l.starts_at) AS starts_at, MIN(l.counted_until) AS counted_until,
       l.agency_code AS agency,
       {_sums()}
FROM ({_WAYS}) AS l
GROUP BY l.month, l.agency_code
"""  # noqa: S608

_STANDING = """
SELECT f.agency_code AS agency, f.standing, COUNT(*) AS dossiers
FROM figures AS f GROUP BY f.agency_code, f.standing
UNION ALL
SELECT f.agency_code, 'due', COUNT(*)
FROM dossiers AS d LEFT JOIN figures AS f ON f.dossier_id = d.dossier_id
WHERE d.figures_due GROUP BY f.agency_code
"""

# As `monitoring/rates/observations.py` has it: by time of submission, then by id as bytes.
_OBSERVATIONS = """
SELECT r.indicator, r.agency, r.period, r.value, r.unit, r.as_of, r.system, r.document,
       r.observation_id, r.corrections, r.observed_at, r.recorded_at
FROM (
    SELECT o.*, COUNT(*) OVER (PARTITION BY o.indicator, o.agency, o.period) - 1 AS corrections,
           ROW_NUMBER() OVER (
               PARTITION BY o.indicator, o.agency, o.period
               ORDER BY CASE WHEN o.corrects IS NULL THEN 1 ELSE 0 END,
                        o.observed_at DESC, o.observation_id COLLATE "{bytes}" DESC
           ) AS place
    FROM observations AS o LEFT JOIN observations AS c ON c.observation_id = o.corrects
    WHERE o.corrects IS NULL
       OR (c.corrects IS NULL AND c.indicator = o.indicator AND c.agency = o.agency
           AND c.period = o.period)
) AS r
WHERE r.place = 1
"""

_PARKED = """
SELECT d.target, d.reason, f.agency_code AS agency, COUNT(*) AS deliveries,
       COUNT(DISTINCT d.dossier_id) AS dossiers, MIN(d.enlisted_at) AS oldest_at
FROM deliveries AS d LEFT JOIN figures AS f ON f.dossier_id = d.dossier_id
WHERE d.state = 'parked' GROUP BY d.target, d.reason, f.agency_code
"""

_REFUSED = """
SELECT origin, place, field, reason, indicator, agency, period, recorded_at FROM refused_observations
"""


def upgrade() -> None:
    """Create the views."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    views = {
        "v_rates_months": _MONTHS_POSTGRESQL if postgresql else _MONTHS_SQLITE,
        "v_rates_counts": _COUNTS,
        "v_rates_standing": _STANDING,
        "v_rates_observations": _OBSERVATIONS.format(bytes="C" if postgresql else "BINARY"),
        "v_rates_parked": _PARKED,
        "v_rates_refused": _REFUSED,
    }
    for name, query in views.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
