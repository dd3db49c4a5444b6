"""Observations over real HTTP: whatever comes is answered, and the ledger says what was taken of it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from monitoring.events import Events
from monitoring.metrics import Metrics
from monitoring.rates.observations import Refusal
from monitoring.rates.observations_json import MOST, NEEDED, OPTIONAL, parse_list
from monitoring.rates.plan import HIGHEST, packaged
from schemas.dossier.csv_table import UNREADABLE
from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.signatures import HEADER, SignatureFault, sign
from streams.observations_intake import SYSTEM_HEADER, Answer, ObservationsIntake
from streams.receive import DESCRIPTION, PATH, AnswerTo, Receiver, description
from streams.settings import ReceiveSettings
from streams.supervisor import supervise
from tests.unit.streams.kit import RecordingLogger

AT = datetime(2025, 3, 2, 8, 0, tzinfo=UTC)
KEY = b"k" * 32
FIGURE: dict[str, Any] = {
    "observation_id": "HSCV-2024",
    "indicator": "work_files_online_commune",
    "agency": "H12",
    "period": "2024",
    "value": 55.5,
    "unit": "percent",
    "as_of": "2025-01-05",
    "system": "eoffice",
    "document": "1/BC-VP",
}
CORRECTION = {**FIGURE, "observation_id": "HSCV-2024-1", "value": 61.25, "corrects": "HSCV-2024"}
SETTINGS = ReceiveSettings(most_bytes=4096, timeout_seconds=10).model_copy(update={"port": 0})


@dataclass
class World:
    """A receiver with one system's key, its ledger, and a client."""

    ledger: SqlLedger
    file: Path
    receiver: Receiver
    client: aiohttp.ClientSession
    metrics: Metrics
    log: RecordingLogger = field(default_factory=RecordingLogger)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}"

    async def send(
        self,
        body: bytes | list[Any],
        *,
        system: str = "eoffice",
        key: bytes = KEY,
        at: datetime = AT,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = {
            "Content-Type": "application/json",
            SYSTEM_HEADER: system,
            HEADER: sign(key, raw, at),
        }
        async with self.client.post(
            self.url + PATH, data=raw, headers={**signed, **(headers or {})}
        ) as found:
            assert found.content_type == "application/json"
            return found.status, await found.json()

    async def ids(self) -> list[str]:
        return [one.observation_id for one in await self.ledger.observations()]

    async def refused(self) -> list[tuple[str, str]]:
        return [(row.field, row.reason) for row in await self.ledger.refused_observations(100)]

    def counted(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value("hub_requests_total", {"outcome": outcome})


@asynccontextmanager
async def opened(
    folder: Path,
    settings: ReceiveSettings = SETTINGS,
    wrap: Callable[[AnswerTo], AnswerTo] = lambda answer: answer,
    wall: Callable[[], datetime] = lambda: AT,
) -> AsyncIterator[World]:
    file = folder / "ledger.db"
    url = f"sqlite:///{file}"
    upgrade(url)
    async with SqlLedger(url) as ledger, aiohttp.ClientSession() as client:
        await ledger.put_mappings(
            [
                MappingRow(
                    codelist=CodeList.AGENCY,
                    system="opencps",
                    code="H12",
                    value="H12",
                    origin=MappingOrigin.SOURCE_TABLE,
                )
            ]
        )
        intake = ObservationsIntake(
            ledger=ledger, keys={"eoffice": KEY}, plan=packaged(), wall=wall
        )
        metrics, log = Metrics(targets=["national_portal"], version="test"), RecordingLogger()
        events = Events(metrics, log)  # type: ignore[arg-type] # the four methods used
        receiver = Receiver(wrap(intake.answer), settings=settings, events=events)
        await receiver.open()
        try:
            yield World(ledger, file, receiver, client, metrics, log)
        finally:
            await receiver.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as found:
        yield found


async def test_a_list_is_taken_once_however_often_it_comes(world: World) -> None:
    assert await world.send([FIGURE, CORRECTION]) == (
        200,
        {"received": 2, "new": ["HSCV-2024", "HSCV-2024-1"]},
    )
    assert await world.send([FIGURE, CORRECTION]) == (200, {"received": 2, "new": []})
    assert await world.ids() == ["HSCV-2024", "HSCV-2024-1"]
    assert await world.refused() == []
    assert world.counted("taken") == 2
    assert (
        world.metrics.registry.get_sample_value(
            "hub_events_processed_total", {"flow": "receive", "outcome": "observed"}
        )
        == 4
    )


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"key": b"x" * 32}, "signature_wrong"),
        ({"at": AT - timedelta(minutes=6)}, "signature_too_old"),
        ({"at": AT + timedelta(minutes=6)}, "signature_in_future"),
        ({"system": "mail"}, "signature_wrong"),
        ({"headers": {HEADER: "v1=x"}}, "signature_malformed"),
    ],
    ids=["wrong key", "old", "future", "unknown system", "malformed"],
)
async def test_nobody_is_believed_without_a_sound_signature(
    world: World, how: dict[str, Any], reason: str
) -> None:
    status, told = await world.send([FIGURE], **how)
    assert (status, told["reason"]) == (401, reason)
    assert told["vi"]
    assert told["en"]
    assert await world.ids() == []
    assert await world.refused() == [("", reason)]
    assert world.counted("not_signed") == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[{]", [(None, None, "unreadable")]),
        ([{**FIGURE, "unit": "yes_no"}], [(0, "unit", "wrong_unit")]),
        (
            [{**FIGURE, "period": "2099", "as_of": "2099-12-31"}],
            [(0, "period", "period_not_ended"), (0, "as_of", "as_of_in_future")],
        ),
        (
            [FIGURE, CORRECTION, {**CORRECTION, "observation_id": "X", "corrects": "HSCV-2024-1"}],
            [(2, "corrects", "corrects_correction")],
        ),
    ],
    ids=["bad JSON", "unit", "period not ended", "correction of a correction"],
)
async def test_a_faulty_list_is_refused_whole_and_its_faults_are_rows(
    world: World, body: bytes | list[Any], told: list[tuple[int | None, str | None, str]]
) -> None:
    status, content = await world.send(body)
    assert status == 422
    assert [(one["item"], one["field"], one["reason"]) for one in content["faults"]] == told
    assert all(one["vi"] and one["en"] for one in content["faults"])
    assert await world.ids() == []
    assert sorted(await world.refused()) == sorted((name or "", reason) for _, name, reason in told)
    assert world.counted("not_taken") == 1
    assert (
        world.metrics.registry.get_sample_value(
            "hub_events_processed_total", {"flow": "receive", "outcome": "refused"}
        )
        == 1
    )


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b" " * 4097, {}, 413, "too_large"),
        (b"[]", {"Content-Type": "text/csv"}, 415, "media_type"),
        (b"[]", {"Content-Encoding": "gzip"}, 415, "media_type"),
    ],
    ids=["too large", "no JSON", "compressed"],
)
async def test_a_body_that_is_not_read_leaves_no_row(
    world: World, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    found, told = await world.send(body, headers=headers)
    assert (found, told["reason"]) == (status, reason)
    assert told["vi"]
    assert await world.refused() == []
    assert world.counted("unfit") == 1


async def test_the_longest_body_is_taken(world: World) -> None:
    body = json.dumps([FIGURE]).encode()
    assert (await world.send(body.ljust(SETTINGS.most_bytes)))[0] == 200


async def test_a_body_of_unknown_length_is_bounded_too(world: World) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    async with world.client.post(world.url + PATH, data=parts(), headers=headers) as found:
        assert (found.status, (await found.json())["reason"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", PATH, 405, "POST"),
        ("PUT", PATH, 405, "POST"),
        ("POST", DESCRIPTION, 405, "GET,HEAD"),
        ("POST", "/v1/observations/", 404, None),
        ("GET", "/metrics", 404, None),
    ],
)
async def test_another_method_or_path_is_told_the_right_one(
    world: World, method: str, path: str, status: int, allow: str | None
) -> None:
    async with world.client.request(method, world.url + path) as found:
        assert (found.status, found.headers.get("Allow")) == (status, allow)
        told = await found.json()
        assert PATH in told["vi"]
        assert PATH in told["en"]
    assert world.counted("unfit") == 1


async def test_a_body_that_stays_away_is_given_up(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"timeout_seconds": 0.1})
    async with opened(tmp_path, settings) as world:
        reader, writer = await _begin(world, b"[", length=100)
        assert b" 408 " in await reader.readline()
        writer.close()
        assert await world.refused() == []


async def test_a_body_that_breaks_off_is_no_mistake_of_ours(world: World) -> None:
    _, writer = await _begin(world, b"[", length=100)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(10):
        while world.counted("unfit") != 1:
            await asyncio.sleep(0.01)
    assert world.counted("failed") == 0
    assert await world.ids() == []


async def test_who_comes_while_too_many_are_answered_comes_again(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"at_once": 1})
    first = json.dumps([FIGURE]).encode()
    async with opened(tmp_path, settings) as world:
        reader, writer = await _begin(world, first[:-1], length=len(first), signed=first)
        async with asyncio.timeout(10):
            while (await _status_and_wait(world, b"[]")) != (503, "1"):
                await asyncio.sleep(0.01)
        assert world.counted("busy") == 1
        writer.write(first[-1:])
        assert b" 200 " in await reader.readline()
        writer.close()
        assert await world.ids() == ["HSCV-2024"]


async def _status_and_wait(world: World, body: bytes) -> tuple[int, str | None]:
    """Of a request whose signature nobody believes."""
    headers = {"Content-Type": "application/json"}
    async with world.client.post(world.url + PATH, data=body, headers=headers) as found:
        return found.status, found.headers.get("Retry-After")


async def _begin(
    world: World, part: bytes, *, length: int, signed: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request of which only a part of the body has been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.receiver.port)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{SYSTEM_HEADER}: eoffice\r\n"
        f"{HEADER}: {sign(KEY, signed, AT)}\r\n\r\n".encode()
        + part
    )
    await writer.drain()
    return reader, writer


async def test_while_the_ledger_is_away_nothing_is_taken_and_the_same_list_is_taken_later(
    world: World,
) -> None:
    away = world.file.with_suffix(".away")
    world.file.rename(away)
    body = json.dumps([FIGURE, CORRECTION]).encode()
    status, told = await world.send(body)
    assert (status, told["reason"]) == (503, "ledger_unavailable")
    assert await _status_and_wait(world, body) == (503, "30")
    assert world.counted("unavailable") == 2
    away.rename(world.file)
    assert await world.ids() == []
    assert (await world.send(body))[0] == 200
    assert await world.ids() == ["HSCV-2024", "HSCV-2024-1"]


async def test_a_ledger_that_answers_late_has_the_whole_list_or_nothing(tmp_path: Path) -> None:
    """The answer is given up, not the transaction: the same list again finds it and doubles nothing."""
    held, asked = asyncio.Event(), asyncio.Event()

    def slow(answer: AnswerTo) -> AnswerTo:
        async def late(system: str | None, signature: str | None, body: bytes) -> Answer:
            found = await answer(system, signature, body)
            asked.set()
            await held.wait()
            return found

        return late

    settings = SETTINGS.model_copy(update={"timeout_seconds": 0.2})
    async with opened(tmp_path, settings, slow) as world:
        assert (await world.send([FIGURE]))[0] == 503
        assert asked.is_set()
        held.set()
        assert await world.send([FIGURE]) == (200, {"received": 1, "new": []})
        assert await world.ids() == ["HSCV-2024"]


async def test_a_mistake_of_ours_is_answered_and_logged_without_content(tmp_path: Path) -> None:
    def broken(_: AnswerTo) -> AnswerTo:
        async def fail(*_: object) -> Answer:
            raise KeyError("0912 345 678")

        return fail

    async with opened(tmp_path, wrap=broken) as world:
        status, told = await world.send([FIGURE])
        assert (status, told["reason"]) == (500, "internal_error")
        (line,) = world.log.of("request_answered")
        assert line["reason"] == "KeyError"
        assert "0912" not in f"{told}{line}"


async def test_as_a_part_it_ends_when_it_is_asked_to(world: World) -> None:
    stop = asyncio.Event()

    def die(why: str) -> Any:
        raise AssertionError(why)

    running = asyncio.create_task(
        supervise([("receive", world.receiver)], stop=stop, grace=20, die=die)
    )
    assert (await world.send([FIGURE]))[0] == 200
    stop.set()
    await running
    with pytest.raises(aiohttp.ClientConnectorError):
        await world.send([FIGURE])
    assert world.receiver.beats > 0


async def test_a_port_that_another_program_has_is_refused(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = SETTINGS.model_copy(update={"port": taken.getsockname()[1]})
        other = Receiver(world.receiver._answer, settings=settings, events=world.receiver._events)
        with pytest.raises(OSError, match="in use"):
            await other.open()


async def test_processes_of_one_machine_share_a_port(world: World) -> None:
    settings = SETTINGS.model_copy(update={"port": world.receiver.port})
    other = Receiver(world.receiver._answer, settings=settings, events=world.receiver._events)
    await other.open()
    try:
        assert other.port == world.receiver.port
    finally:
        await other.close()


# --- the description ---------------------------------------------------------------------------------


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(description())["components"]["schemas"][name]
    return found


async def test_the_description_is_served_as_it_is_written(world: World) -> None:
    async with world.client.get(world.url + DESCRIPTION) as found:
        assert (found.status, found.content_type) == (200, "application/json")
        assert await found.read() == description()


def test_the_description_says_what_the_code_does() -> None:
    told = json.loads(description())
    assert set(told["paths"]) == {PATH, DESCRIPTION}
    post = told["paths"][PATH]["post"]
    assert [one["name"] for one in post["parameters"]] == [SYSTEM_HEADER, HEADER]
    body = post["requestBody"]["content"]["application/json"]
    assert body["schema"]["maxItems"] == MOST
    observation = schema("Observation")
    assert observation["required"] == list(NEEDED)
    assert list(observation["properties"]) == [*NEEDED, *OPTIONAL]
    assert set(observation["properties"]["unit"]["enum"]) == set(HIGHEST)
    assert set(schema("Fault")["properties"]["reason"]["enum"]) == {UNREADABLE, *Refusal}
    assert set(schema("NotSigned")["properties"]["reason"]["enum"]) == set(SignatureFault)
    parse_list(json.dumps(body["example"]).encode(), now=AT, submitted_by="eoffice")


def test_every_reference_and_pattern_of_the_description_is_sound() -> None:
    text = description().decode()
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred == set(json.loads(text)["components"]["schemas"])
    for pattern in re.findall(r'"pattern": ("[^"]+")', text):
        re.compile(json.loads(pattern))
    signature = json.loads(text)["paths"][PATH]["post"]["parameters"][1]["schema"]["pattern"]
    assert re.search(signature, sign(KEY, b"[]", AT))


def shape(content: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """The object has exactly the fields that are described, and words of the closed lists."""
    assert set(content) == set(expected["properties"]) == set(expected["required"])
    for name, given in content.items():
        listed = expected["properties"][name].get("enum")
        assert listed is None or given in listed, (name, given)


async def test_every_answer_has_the_status_and_the_shape_that_are_described(world: World) -> None:
    responses = json.loads(description())["paths"][PATH]["post"]["responses"]
    seen = {}
    for body, how in (
        ([FIGURE], {}),
        ([{**FIGURE, "unit": "per cent"}], {}),
        ([FIGURE], {"key": b"x" * 32}),
        (b" " * 5000, {}),
        (b"[]", {"headers": {"Content-Type": "text/csv"}}),
    ):
        status, content = await world.send(body, **how)
        expected = responses[str(status)]["content"]["application/json"]["schema"]["$ref"]
        shape(content, schema(expected.rpartition("/")[2]))
        for fault in content.get("faults", ()):
            shape(fault, schema("Fault"))
        seen[status] = content
    assert set(seen) == {200, 422, 401, 413, 415}
