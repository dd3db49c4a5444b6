"""The views for Grafana on SQLite, and the page that names them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.ledger.dialect import make_engine
from schemas.ledger.migrate import upgrade
from tests.contract.views_contract import ViewsContract, views_of

README = Path(__file__).parents[3] / "schemas" / "ledger" / "README.md"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    return url


class TestSqliteViews(ViewsContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


def test_the_page_names_every_view_and_column(url: str) -> None:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            views = views_of(connection)
    finally:
        engine.dispose()
    page = README.read_text(encoding="utf-8").partition("## Views")[2].partition("\n## ")[0]
    told = {
        name: re.findall(r"`(\w+)`", columns)
        for name, columns in re.findall(r"^\| `(v_\w+)` \| ([^|]*) \|", page, re.MULTILINE)
    }
    counts = views["v_rates_counts"]
    assert told.keys() == views.keys()
    for name, columns in views.items():
        if name != "v_rates_counts":
            assert told[name] == columns, name
    assert told["v_rates_counts"] == counts[:4]
