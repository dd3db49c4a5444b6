"""Settings: every field explained, unknown ones refused, all problems at once, secrets hidden."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from connectors.gov_reporting.config import GovReportingSettings, ReportingAbilities
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.sink import GovReporting
from connectors.protocols import Lookup
from tests.unit.gov_reporting import samples


@pytest.mark.parametrize("model", [GovReportingSettings, ReportingAbilities])
def test_every_field_has_a_sentence(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adress": "x"}, ["adress"]),
        ({"address": "ftp://x"}, ["address"]),
        ({"encoding": "yaml"}, ["encoding"]),
        ({"abilities": {"lookup": "steps"}}, ["a report has no steps"]),
        ({"client_id": None}, ["transport rest needs client_id"]),
        ({"transport": "soap"}, ["transport soap needs client, service"]),
        ({"sender": " "}, ["sender"]),
        (
            {"token_address": None, "client_key": "/x.key", "connect_timeout_seconds": 60},
            ["needs token_address", "set both", "exceeds total_timeout_seconds"],
        ),
        ({"inbox_page": 0, "total_timeout_seconds": 0}, ["inbox_page", "total_timeout_seconds"]),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_all_at_once(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ValidationError) as refused:
        samples.settings(**changes)
    assert all(word in str(refused.value) for word in words)
    assert samples.CLIENT_SECRET not in str(refused.value.errors(include_input=False))


def test_the_secret_is_not_shown() -> None:
    settings = samples.settings()
    assert samples.CLIENT_SECRET not in repr(settings) + str(settings) + settings.model_dump_json()


def test_the_abilities_are_those_of_the_settings() -> None:
    settings = samples.settings(
        abilities={"lookup": "existence", "late_effect_bound_seconds": 7, "lookup_lag_seconds": 2}
    )
    sink = GovReporting(settings, load_elements(), samples.SEALER, samples.HASHER)
    abilities = sink.abilities
    assert (abilities.lookup, abilities.late_effect_bound) == (Lookup.EXISTENCE, 7)
    assert (abilities.lookup_lag, abilities.verified_after) == (2, 21)
