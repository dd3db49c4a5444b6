"""Settings: every field explained, unknown ones refused, secrets hidden."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from connectors.national_portal.config import (
    AbilitySettings,
    NationalPortalSettings,
    XRoadMember,
)
from tests.unit.national_portal import samples


@pytest.mark.parametrize("model", [NationalPortalSettings, AbilitySettings, XRoadMember])
def test_every_field_has_a_sentence(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pasword": "x"}, "pasword"),
        ({"address": "ftp://x"}, "address"),
        ({"total_timeout_seconds": 0}, "total_timeout_seconds"),
        ({"connect_timeout_seconds": 60}, "exceeds total_timeout_seconds"),
        ({"session_renew_margin_seconds": 600}, "below session_seconds"),
        ({"client_key": "/x.key"}, "set both"),
        ({"abilities": {"lookup": "everything"}}, "abilities.lookup"),
        ({"agency_code": " "}, "agency_code"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        samples.settings("http://127.0.0.1:9/", **changes)
    assert words in str(refused.value)
    assert samples.PASSWORD not in str(refused.value.errors(include_input=False))


def test_the_password_is_not_shown() -> None:
    settings = samples.settings("http://127.0.0.1:9/")
    assert samples.PASSWORD not in repr(settings) + str(settings) + settings.model_dump_json()
