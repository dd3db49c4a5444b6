"""Settings: every problem at once, each with its variable and remedy; `.env.example` is true."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.settings import PREFIX, Settings, env_example, problems, variables

KEY = base64.b64encode(b"k" * 32).decode()
GOOD = {
    "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "LEDGER_URL": "sqlite:///ledger.db",
    "MASTER_KEY": KEY,
    "HASH_KEY": KEY,
    "ONE_STOP__URL": "sqlite:///one_stop.db",
    "NATIONAL_PORTAL__ADDRESS": "http://127.0.0.1:8080/portal",
    "NATIONAL_PORTAL__USERNAME": "province",
    "NATIONAL_PORTAL__PASSWORD": "portal-secret",
    "NATIONAL_PORTAL__AGENCY_CODE": "000.00.00.H12",
    "NATIONAL_PORTAL__CLIENT__INSTANCE": "VN",
    "NATIONAL_PORTAL__CLIENT__MEMBER_CLASS": "GOV",
    "NATIONAL_PORTAL__CLIENT__MEMBER_CODE": "H12",
    "NATIONAL_PORTAL__SERVICE__INSTANCE": "VN",
    "NATIONAL_PORTAL__SERVICE__MEMBER_CLASS": "GOV",
    "NATIONAL_PORTAL__SERVICE__MEMBER_CODE": "VPCP",
}


def read() -> Settings:
    return Settings()  # type: ignore[call-arg] # the fields come from the environment


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(PREFIX + name, value)
    return monkeypatch


def told() -> list[str]:
    with pytest.raises(ValidationError) as caught:
        read()
    return problems(caught.value)


def test_the_smallest_good_environment(env: pytest.MonkeyPatch) -> None:
    settings = read()
    assert settings.master_key_bytes() == b"k" * 32
    assert settings.engine.in_flight == 16
    assert settings.registry_url is None


def test_all_problems_are_told_at_once(env: pytest.MonkeyPatch) -> None:
    env.delenv(PREFIX + "LEDGER_URL")
    env.setenv(PREFIX + "KAFKA__SESSION_TIMEOUT_SECONDS", "60")
    env.setenv(PREFIX + "KAFKA__BOOTSTRAP_SERVER", "typo:9092")
    env.setenv(PREFIX + "ENGIN__IN_FLIGHT", "3")
    env.setenv(PREFIX + "MASTER_KEY", "too short")
    env.delenv(PREFIX + "HASH_KEY")
    env.delenv(PREFIX + "NATIONAL_PORTAL__USERNAME")
    lines = {line.split(":", 1)[0]: line for line in told()}
    assert set(lines) == {
        PREFIX + name
        for name in (
            "LEDGER_URL",
            "KAFKA__SESSION_TIMEOUT_SECONDS",
            "KAFKA__BOOTSTRAP_SERVER",
            "ENGIN__IN_FLIGHT",
            "MASTER_KEY",
            "HASH_KEY_FILE",
            "NATIONAL_PORTAL__USERNAME",
        )
    }
    assert "THONGSUOT_KAFKA__BOOTSTRAP_SERVERS?" in lines[PREFIX + "KAFKA__BOOTSTRAP_SERVER"]
    assert "openssl rand -base64 32" in lines[PREFIX + "MASTER_KEY"]
    assert "THONGSUOT_HASH_KEY" in lines[PREFIX + "HASH_KEY_FILE"]
    assert "chưa được đặt" in lines[PREFIX + "LEDGER_URL"], "Vietnamese first"


def test_a_missing_section_names_the_variables_to_set(env: pytest.MonkeyPatch) -> None:
    env.delenv(PREFIX + "ONE_STOP__URL")
    (line,) = told()
    assert line.startswith("THONGSUOT_ONE_STOP__URL: ")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("MASTER_KEY", "c2VjcmV0LW1hc3Rlci1rZXk"),
        ("LEDGER_URL", "mysql://hub:ledger-secret@host/db"),
        ("NATIONAL_PORTAL__ADDRESS", "ftp://user:address-secret@host"),
        ("ONE_STOP__URL", "oracle://hub:source-secret@host/db"),
    ],
)
def test_no_problem_quotes_a_value(env: pytest.MonkeyPatch, name: str, secret: str) -> None:
    env.setenv(PREFIX + name, secret)
    (line,) = told()
    assert line.startswith(PREFIX + name)
    assert "-secret" not in line
    assert secret not in line


def test_secrets_do_not_show(env: pytest.MonkeyPatch) -> None:
    shown = repr(read())
    assert KEY not in shown
    assert "portal-secret" not in shown


def test_keys_from_files(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "master.key"
    key.write_text(base64.b64encode(b"f" * 32).decode() + "\n")
    env.delenv(PREFIX + "MASTER_KEY")
    env.setenv(PREFIX + "MASTER_KEY_FILE", str(key))
    assert read().master_key_bytes() == b"f" * 32
    env.setenv(PREFIX + "MASTER_KEY_FILE", str(tmp_path / "nowhere"))
    (line,) = told()
    assert line.startswith("THONGSUOT_MASTER_KEY_FILE: ")


def test_a_key_and_its_file_together_are_a_problem(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv(PREFIX + "HASH_KEY_FILE", str(tmp_path / "hash.key"))
    (line,) = told()
    assert line.startswith("THONGSUOT_HASH_KEY_FILE: ")


def test_sasl_needs_a_user(env: pytest.MonkeyPatch) -> None:
    env.setenv(PREFIX + "KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    assert [line.split(":", 1)[0] for line in told()] == [
        "THONGSUOT_KAFKA__USERNAME",
        "THONGSUOT_KAFKA__PASSWORD",
    ]


def test_the_example_is_true() -> None:
    example = Path(__file__).parents[3] / ".env.example"
    assert example.read_text(encoding="utf-8") == env_example(), (
        "write it anew: python -c 'from streams.settings import env_example as e; print(e(), end=\"\")'"
    )


def test_every_variable_has_its_sentence() -> None:
    silent = [name for name, field in variables() if not (field.description or "").strip()]
    assert silent == []


def test_the_defaults_of_the_example_are_accepted(env: pytest.MonkeyPatch) -> None:
    for line in env_example().splitlines():
        name, separator, value = line.removeprefix("# ").partition("=")
        if separator and name.startswith(PREFIX) and name.removeprefix(PREFIX) not in GOOD:
            env.setenv(name, value)
    assert read().capture.sweep_hour == 2


def test_the_sweep_can_be_switched_off(env: pytest.MonkeyPatch) -> None:
    env.setenv(PREFIX + "CAPTURE__SWEEP_HOUR", "off")
    assert read().capture.sweep_hour is None


def test_the_engine_of_reports_differs_only_where_it_is_told(env: pytest.MonkeyPatch) -> None:
    env.setenv(PREFIX + "ENGINE__IN_FLIGHT", "7")
    env.setenv(PREFIX + "ENGINE__SEND_BY_SECONDS", "1.5")
    settings = read()
    assert settings.report_engine.over(settings.engine) == settings.engine
    env.setenv(PREFIX + "REPORT_ENGINE__IN_FLIGHT", "2")
    env.setenv(PREFIX + "REPORT_ENGINE__QUOTA_PER_SECOND", "0.5")
    settings = read()
    reports = settings.report_engine.over(settings.engine)
    assert (reports.in_flight, reports.quota_per_second) == (2, 0.5)
    assert reports.send_by_seconds == 1.5
    assert (settings.engine.in_flight, settings.engine.quota_per_second) == (7, None)


MAIL = {"MAIL__HOST": "mail.x.vn", "MAIL__SENDER": "hub@x.vn"}


def test_without_a_host_there_is_no_mail(env: pytest.MonkeyPatch) -> None:
    mail = read().mail
    assert (mail.host, mail.hour, mail.security) == (None, None, "starttls")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"MAIL__HOST": "mail.x.vn"}, {"MAIL__SENDER"}),
        ({"MAIL__HOUR": "7"}, {"MAIL__HOUR"}),
        ({**MAIL, "MAIL__HOUR": "24"}, {"MAIL__HOUR"}),
        ({**MAIL, "MAIL__USERNAME": "hub"}, {"MAIL__PASSWORD"}),
        ({**MAIL, "MAIL__PASSWORD": "mail-secret"}, {"MAIL__PASSWORD"}),
        (
            {
                **MAIL,
                "MAIL__USERNAME": "hub",
                "MAIL__PASSWORD": "mail-secret",
                "MAIL__SECURITY": "none",
            },
            {"MAIL__PASSWORD"},
        ),
        ({**MAIL, "MAIL__TO": "a@x.vn, nobody"}, {"MAIL__TO"}),
        ({**MAIL, "MAIL__SENDER": "a@x.vn,b@x.vn"}, {"MAIL__SENDER"}),
        ({**MAIL, "MAIL__SECURITY": "ssl"}, {"MAIL__SECURITY"}),
    ],
    ids=lambda value: "+".join(sorted(value)),
)
def test_mail_settings_that_do_not_fit_are_named(
    env: pytest.MonkeyPatch, given: dict[str, str], wrong: set[str]
) -> None:
    for name, value in given.items():
        env.setenv(PREFIX + name, value)
    lines = told()
    assert {line.split(":", 1)[0] for line in lines} == {PREFIX + name for name in wrong}
    assert "-secret" not in " ".join(lines)


def test_the_password_of_the_mail_server_may_come_from_a_file(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mail.password"
    file.write_text("mail-secret\n")
    given = {**MAIL, "MAIL__USERNAME": "hub", "MAIL__PASSWORD_FILE": str(file), "MAIL__HOUR": "off"}
    for name, value in given.items():
        env.setenv(PREFIX + name, value)
    mail = read().mail
    assert mail.password is not None
    assert mail.password.get_secret_value() == "mail-secret"
    assert mail.hour is None
