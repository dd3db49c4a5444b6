"""The core of the torture: twelve short rows, as tests. `make test-integration` plays them too.

Needs Kafka and PostgreSQL. How long a recovery took is judged by `make torture` on a machine of its own, not
here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.torture.catalogue import chosen
from tests.torture.scenario import Scenario, play
from tests.torture.settings import CORE
from tests.torture.standing import Standing

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as standing:
        yield standing


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", [pytest.param(s, id=s.name) for s in chosen(core=True)])
async def test_the_far_side_holds_exactly_what_it_should(
    scenario: Scenario, standing: Standing
) -> None:
    for result in await play(scenario.at(CORE), standing):
        assert result.findings == (), result.as_json()
