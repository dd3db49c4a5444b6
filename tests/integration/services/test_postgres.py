"""The PostgreSQL kit: what was committed survives a kill, a pause answers nothing."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.services.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_was_committed_is_there_after_a_new_start(
    postgres_server: PostgresServer, how: str
) -> None:
    url = postgres_server.create_database(f"kept_{how}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t VALUES (1), (2)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (3)")
        before = postgres_server.pid
        getattr(postgres_server, how)()
        try:
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url)
        finally:
            postgres_server.start()
        assert postgres_server.pid != before
        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (2,)]


def test_a_paused_server_answers_nothing_and_goes_on_when_resumed(
    postgres_server: PostgresServer,
) -> None:
    answers: list[object] = []
    with postgres_server.connect() as connection:
        postgres_server.pause()
        try:
            asking = threading.Thread(
                target=lambda: answers.append(connection.execute("SELECT 1").fetchone())
            )
            asking.start()
            with pytest.raises(psycopg.OperationalError, match="timeout"):
                psycopg.connect(postgres_server.url(), connect_timeout=2)
            assert answers == []
        finally:
            postgres_server.resume()
        asking.join(60)
        assert answers == [(1,)]


def test_a_paused_server_can_be_stopped_and_settings_hold() -> None:
    with PostgresServer(settings={"max_connections": "11"}) as server:
        with server.connect() as connection:
            assert connection.execute("SHOW max_connections").fetchone() == ("11",)
        server.pause()
        server.stop()
        server.start()
        with server.connect() as connection:
            assert connection.execute("SHOW max_connections").fetchone() == ("11",)
