"""`thongsuot topics check` and `topics create` where there is no broker, or one that cannot make topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.topics import TOPICS
from streams.embedded_broker import EmbeddedBroker
from tests.unit.cli.running import nothing_running, run, set_environment


@pytest.mark.parametrize("command", ["check", "create"])
def test_a_broker_that_does_not_answer_is_named(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    ended = run("topics", command)
    assert ended.exit_code == 1
    assert "không kết nối được Kafka" in ended.stderr
    assert "THONGSUOT_KAFKA__BOOTSTRAP_SERVERS" in ended.stderr


def test_create_is_refused_on_the_embedded_broker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path), KAFKA__EMBEDDED="true")
    ended = run("topics", "create")
    assert ended.exit_code == 1
    assert "broker nhúng" in ended.stderr
    assert ended.stdout == ""


def test_check_names_every_difference_in_both_languages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with EmbeddedBroker({topic.name: 3 for topic in TOPICS[1:]}) as broker:
        settings = {**nothing_running(tmp_path), "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap}
        set_environment(monkeypatch, **settings, KAFKA__EMBEDDED="true", KAFKA__PARTITIONS="2")
        ended = run("topics", "check")
        assert ended.exit_code == 1
        assert ended.stdout.count("✘ chủ đề") == len(TOPICS)
        assert f"topic {TOPICS[0].name}: the topic is absent" in ended.stdout
        for topic in TOPICS[1:]:
            assert f"chủ đề {topic.name}: partitions đang là 3, cần 2" in ended.stdout
        monkeypatch.setenv("THONGSUOT_KAFKA__PARTITIONS", "3")
        broker.create_topic(TOPICS[0].name, 3)
        ended = run("topics", "check")
        assert ended.exit_code == 0, ended.output
        assert "đủ và đúng" in ended.stdout
