"""Every ratio and score that the portal published, and that has a rule, comes out to the last digit.

What was published is counted here, so that a table that shrinks, or a code left out, fails.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

import pytest

from monitoring.rates.catalogue import TOTAL, packaged
from monitoring.rates.tables import score
from tests.unit.cli.running import run
from tests.unit.rates.published import Published, path, published, rows

ONLINE = "provide-online-tree"


class Golden(NamedTuple):
    """A code, its table, and how many figures of it were published."""

    table: str
    code: str
    rows: int
    ratios: int
    scores: int
    service: str | None = None


GOLDEN = [
    Golden("progress", "on_time", 106, 106, 106),
    Golden("payment", "online_payment", 106, 106, 106),
    Golden("payment_one_procedure", "online_payment", 12, 12, 12),
    Golden("metrics", "PUBLISH_ON_TIME", 24, 0, 0),
    Golden("metrics", "PUBLIC_UPDATE_ON_TIME", 24, 0, 0),
    Golden("metrics", "PUBLIC_CONTENT_FULL", 24, 24, 24),
    Golden("metrics", "DOSSIER_SYNC", 24, 23, 23),
    Golden("metrics", "ORIGINAL_RESULT_AVAILABLE", 15, 14, 14),
    Golden("metrics", "SO_HOA_GIAY_TO_GIAI_QUYET", 15, 14, 14),
    Golden("metrics", "REUSED_DIGITIZED_DATA", 15, 14, 14),
    Golden("metrics", "CITIZEN_DATA_CONNECTED_DOSSIER", 15, 14, 14),
    Golden("metrics", "SYNCED_WITH_DVCQG_PERSONAL_STORAGE", 15, 14, 14),
    Golden("metrics", "CITIZEN_DATA_CONNECTED_FORMALITY", 15, 15, 15),
    Golden("metrics", "ELECTRONIC_CERTIFIED_COPY", 15, 15, 15),
    Golden("metrics", "PETITION_CLASSIFICATION_TTHC", 11, 11, 0),
    Golden("metrics", "PETITION_CLASSIFICATION_STAFF", 11, 11, 0),
    Golden("metrics", "DOSSIER_RECEIVING_SATISFACTION", 11, 11, 11),
    Golden("metrics", "PETITION_PROCESSING_ON_TIME", 11, 11, 11),
    Golden("metrics", "PETITION_HANDLING_SATISFACTION", 11, 11, 11),
    Golden("metrics", "channelOnlineSum/channelTotalSum", 1, 0, 0),
    Golden("metrics", "onlineOnTimeSum/channelOnlineSum", 1, 0, 0),
    Golden("metrics", "onlineDossierCount/onlineServiceTotal", 1, 1, 0),
    Golden("metrics", "fullCount/authorityCount", 1, 0, 0),
    Golden("metrics", TOTAL, 24, 24, 24, "transparency"),
    Golden("metrics", TOTAL, 15, 15, 15, "dossier-digitized"),
    Golden("metrics", TOTAL, 11, 11, 11, "handling-satisfaction"),
]

NOT_COVERED = Golden("metrics", TOTAL, 1, 1, 1, ONLINE)
"""The one published figure without a rule: the total of the online block."""

BLANK = {"ratio": 57, "score": 80}
"""Cells of the metrics table in which the portal shows nothing; they have to come out as null."""


def ids(golden: Golden) -> str:
    return ":".join(filter(None, (golden.table, golden.service, golden.code)))


@pytest.mark.parametrize("golden", GOLDEN, ids=ids)
def test_every_published_figure_is_reproduced(golden: Golden) -> None:
    table, code, service = golden.table, golden.code, golden.service
    wanted = published(table, code, service)
    assert len(wanted) == golden.rows
    assert sum(one.ratio is not None for one in wanted) == golden.ratios
    assert sum(one.score is not None for one in wanted) == golden.scores

    scores = score(packaged(), code, path(table).read_bytes(), service)

    found = [Published(row.unit, row.figure.ratio, row.figure.score) for row in scores.rows]
    assert found == wanted
    assert scores.remarks == ()


def test_the_online_total_is_said_to_be_beyond_reach_and_shown_as_nothing() -> None:
    (wanted,) = published("metrics", TOTAL, ONLINE)
    assert wanted.ratio is not None
    assert wanted.score is not None

    scores = score(packaged(), TOTAL, path("metrics").read_bytes(), ONLINE)

    (row,) = scores.rows
    assert (row.unit, row.figure.ratio, row.figure.score) == (wanted.unit, None, None)
    (remark,) = scores.remarks
    assert "không tái tạo được" in remark.vi
    assert "cannot be reproduced" in remark.en


def test_nothing_that_was_published_is_left_out() -> None:
    listed = Counter[tuple[str, str]]()
    for golden in (*GOLDEN, NOT_COVERED):
        listed[golden.table, golden.code] += golden.rows
    there = Counter(
        (table, row.get("metric_code", code))
        for table, code in (
            ("progress", "on_time"),
            ("payment", "online_payment"),
            ("payment_one_procedure", "online_payment"),
            ("metrics", ""),
        )
        for row in rows(table)
    )
    assert listed == there


def test_what_is_not_covered_is_the_online_total_and_the_blank_cells_alone() -> None:
    metrics = rows("metrics")
    assert {name: sum(not row[name] for row in metrics) for name in BLANK} == BLANK
    whole = [one for one in GOLDEN if one.table == "metrics"]
    assert sum(one.ratios for one in whole) + NOT_COVERED.ratios + BLANK["ratio"] == len(metrics)
    assert sum(one.scores for one in whole) + NOT_COVERED.scores + BLANK["score"] == len(metrics)


def test_the_maxima_of_the_catalogue_are_those_that_the_portal_shows() -> None:
    catalogue = packaged()
    for row in rows("metrics"):
        code, shown = row["metric_code"], row["maxScore"]
        if code == TOTAL:
            assert f"{catalogue.blocks[row['service']].maximum:f}" == shown
        else:
            rate = catalogue.versions(code)[-1]
            assert rate.block == row["service"]
            assert ("" if rate.maximum is None else f"{rate.maximum:f}") == shown


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("progress", "on_time"),
        ("payment", "online_payment"),
        ("metrics", "ORIGINAL_RESULT_AVAILABLE"),
        ("metrics", TOTAL),
    ],
)
def test_the_command_prints_the_published_figures(table: str, code: str) -> None:
    ended = run("rates", "score", "--rate", code, "--input", str(path(table)), "--json")
    assert ended.exit_code == 0, ended.stderr
    wanted = [
        {
            "departmentCode": one.unit,
            "metric": code,
            "ratio": None if one.ratio is None else float(one.ratio),
            "score": None if one.score is None else float(one.score),
        }
        for one in published(table, code)
    ]
    if code == TOTAL:
        assert wanted[-1]["score"] == 8.83  # the online block's
        wanted[-1] |= {"ratio": None, "score": None}
    assert json.loads(ended.stdout) == wanted
