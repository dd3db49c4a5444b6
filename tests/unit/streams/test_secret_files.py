"""Every secret setting may come from a file; what is wrong with the file is told like all the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.settings import PREFIX, Settings, env_example, problems, secret_variables
from tests.unit.streams.test_settings import GOOD

PASSWORD = PREFIX + "NATIONAL_PORTAL__PASSWORD"
LEDGER = PREFIX + "LEDGER_URL"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(PREFIX + name, value)
    return monkeypatch


def read() -> Settings:
    return Settings()  # type: ignore[call-arg] # the fields come from the environment


def told() -> list[str]:
    with pytest.raises(ValidationError) as caught:
        read()
    return problems(caught.value)


def secret(folder: Path, text: str) -> str:
    file = folder / "secret"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_all_passwords_and_addresses_with_passwords_may_come_from_files() -> None:
    names = {name.removeprefix(PREFIX) for name in secret_variables()}
    assert names == {
        "LEDGER_URL",
        "KAFKA__PASSWORD",
        "ONE_STOP__URL",
        "ONE_STOP__PASSWORD",
        "NATIONAL_PORTAL__PASSWORD",
        "GOV_REPORTING__CLIENT_SECRET",
        "MAIL__PASSWORD",
    }
    for name in secret_variables():
        assert f"# Or {name}_FILE: a file that holds it." in env_example()


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_secret_is_read_from_its_file(env: pytest.MonkeyPatch, tmp_path: Path, end: str) -> None:
    env.delenv(PASSWORD)
    env.setenv(PASSWORD + "_FILE", secret(tmp_path, f" mật khẩu {end}"))
    assert read().national_portal.password.get_secret_value() == " mật khẩu "


def test_a_setting_of_the_root_too(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.delenv(LEDGER)
    env.setenv(LEDGER + "_FILE", secret(tmp_path, "sqlite:///from-a-file.db\n"))
    assert read().ledger_url.get_secret_value() == "sqlite:///from-a-file.db"


def test_an_empty_variable_is_none(env: pytest.MonkeyPatch) -> None:
    env.setenv(PASSWORD + "_FILE", "")
    assert read().national_portal.password.get_secret_value() == "portal-secret"


def test_what_the_file_holds_is_checked_and_not_told(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env.delenv(LEDGER)
    env.setenv(LEDGER + "_FILE", secret(tmp_path, "mysql://hub:ledger-secret@host/db"))
    (line,) = told()
    assert line.startswith(f"{LEDGER}: ")
    assert "secret" not in line


def test_files_that_cannot_be_read_are_told_together_with_the_rest(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env.delenv(PASSWORD)
    env.setenv(PASSWORD + "_FILE", str(tmp_path / "absent"))
    env.delenv(LEDGER)
    env.setenv(LEDGER + "_FILE", secret(tmp_path, "\n"))
    env.setenv(PREFIX + "ENGINE__IN_FLIGHT", "0")
    lines = {line.partition(":")[0]: line for line in told()}
    assert set(lines) == {PASSWORD + "_FILE", LEDGER + "_FILE", PREFIX + "ENGINE__IN_FLIGHT"}
    assert "không đọc được" in lines[PASSWORD + "_FILE"]
    assert "absent cannot be read (FileNotFoundError)" in lines[PASSWORD + "_FILE"]
    assert "is empty" in lines[LEDGER + "_FILE"]


def test_an_optional_secret_is_not_passed_over_in_silence(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env.setenv(PREFIX + "ONE_STOP__PASSWORD_FILE", str(tmp_path / "absent"))
    (line,) = told()
    assert line.startswith(PREFIX + "ONE_STOP__PASSWORD_FILE: ")


def test_both_at_once_are_refused(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv(PASSWORD + "_FILE", secret(tmp_path, "other"))
    (line,) = told()
    assert f"set either {PASSWORD} or {PASSWORD}_FILE" in line


def test_a_file_for_what_is_no_secret_is_an_unknown_setting(env: pytest.MonkeyPatch) -> None:
    env.setenv(PREFIX + "ENVIRONMENT_FILE", "name")
    env.setenv(PREFIX + "KAFKA__BOOTSTRAP_SERVERS_FILE", "name")
    assert len(told()) == 2
