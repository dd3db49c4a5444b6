"""Settings say what is wrong with them; database errors say what to do and quote nothing."""

from __future__ import annotations

import pymysql
import pytest
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from connectors.one_stop.columns import SPECS
from connectors.one_stop.config import OneStopSettings
from connectors.one_stop.failures import classify
from connectors.protocols import SourceError, SourceMisconfigured, SourceUnavailable

CONTENT = "Nguyễn Thị Hư Cấu"


class _Postgres(Exception):
    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


def wrapped(origin: Exception, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind(f"SELECT '{CONTENT}'", {"name": CONTENT}, origin)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (wrapped(pymysql.err.OperationalError(1045, CONTENT)), SourceMisconfigured, "PASSWORD"),
        (wrapped(pymysql.err.OperationalError(1049, CONTENT)), SourceMisconfigured, "database"),
        (wrapped(pymysql.err.OperationalError(1142, CONTENT)), SourceMisconfigured, "SELECT"),
        (wrapped(pymysql.err.ProgrammingError(1146, CONTENT), ProgrammingError), SourceMisconfigured, "table"),
        (wrapped(pymysql.err.OperationalError(2003, CONTENT)), SourceUnavailable, "2003"),
        (wrapped(pymysql.err.OperationalError(2013, CONTENT)), SourceUnavailable, "2013"),
        (wrapped(pymysql.err.OperationalError(1205, CONTENT)), SourceUnavailable, "1205"),
        (wrapped(_Postgres(CONTENT, "28P01")), SourceMisconfigured, "PASSWORD"),
        (wrapped(_Postgres("FATAL: password authentication failed for user")), SourceMisconfigured, "PASSWORD"),
        (wrapped(_Postgres(CONTENT, "42501"), ProgrammingError), SourceMisconfigured, "SELECT"),
        (wrapped(_Postgres(CONTENT, "57014")), SourceUnavailable, "57014"),
        (wrapped(_Postgres("connection refused")), SourceUnavailable, "tried again"),
        (wrapped(_Postgres("database is locked")), SourceUnavailable, "tried again"),
        (wrapped(_Postgres("no such table: opencps_dossier")), SourceMisconfigured, "table"),
    ],
)  # fmt: skip
def test_classification(error: DBAPIError, expected: type[SourceError], words: str) -> None:
    told = classify(error)
    assert type(told) is expected
    assert words in str(told)
    assert CONTENT not in str(told)


def test_the_url_and_the_password_are_never_shown() -> None:
    settings = OneStopSettings.model_validate(
        {"url": "mysql+pymysql://hub:secret@db/lportal", "password": "secret"}
    )
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"url": "oracle://x"}, "mysql+pymysql"),
        ({"url": "mysql://x/y"}, "mysql+pymysql"),
        ({"url": "no url"}, "not a database URL"),
        ({"url": "sqlite:///x", "zone": "Asia/Saigonn"}, "Asia/Ho_Chi_Minh"),
        ({"url": "sqlite:///x", "page_size": 0}, "page_size"),
        ({"url": "sqlite:///x", "pagesize": 10}, "pagesize"),
        ({}, "url"),
    ],
)
def test_settings_refuse_what_they_do_not_know(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        OneStopSettings.model_validate(values)
    assert words in str(caught.value)


def test_every_setting_has_a_sentence() -> None:
    assert all(field.description for field in OneStopSettings.model_fields.values())


def test_no_secret_or_payload_column_is_named() -> None:
    named = {word for spec in SPECS.values() for word in spec.columns}
    secrets = {"password_", "messageText", "publishData", "vnpostalProfile", "formData", "formScript",
               "formReport", "formSchema", "confirmPayload", "epaymentProfile", "bankInfo", "einvoice",
               "invoicePayload", "payload", "signInfo"}  # fmt: skip
    assert not named & secrets
