"""Where schema ids come from: the packaged schemas, or a server that speaks the Confluent REST API.

Producers look ids up and never register; `thongsuot schemas register` does, once per release.

    RegistryError
    ├── UnknownSchemaId      no such id, or one that this version cannot read -> the flow stops and pages
    ├── NotRegistered        our schema is not there -> `thongsuot schemas register`
    ├── IncompatibleSchema   the registry, or our own check, refuses a new version
    └── RegistryUnavailable  no usable answer -> wait and try again
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from schemas.avro import packaged
from schemas.compatibility import check_versions
from schemas.topics import TOPICS, Topic

FULL_TRANSITIVE = "FULL_TRANSITIVE"
_JSON = "application/vnd.schemaregistry.v1+json"
_UNKNOWN_CODES = frozenset({404, 40401, 40402, 40403, 40408})
"""Error codes of a 404 that speaks of the thing asked for: subject, version, schema, subject's level."""


class RegistryError(Exception):
    """Base of what a registry may raise."""


class UnknownSchemaId(RegistryError):
    """The registry does not know the id, or this version of the hub cannot read its schema."""

    def __init__(self, schema_id: int, why: str = "the registry does not know it") -> None:
        super().__init__(
            f"schema id {schema_id}: {why}. Check that the flow and its writers use the same "
            "registry, and bring this worker up to the version of the newest writer"
        )
        self.schema_id = schema_id


class NotRegistered(RegistryError):
    """The registry has not got our schema under this subject."""

    def __init__(self, subject: str) -> None:
        super().__init__(
            f"subject {subject}: the registry has not got this version's schema. "
            "Run: thongsuot schemas register"
        )
        self.subject = subject


class IncompatibleSchema(RegistryError):
    """A version cannot be used side by side with an earlier one."""


class RegistryUnavailable(RegistryError):
    """The registry gave no usable answer; nothing is said about the schema."""


class SchemaRegistry(Protocol):
    """What the codec needs."""

    async def schema(self, schema_id: int) -> str:
        """The schema of an id. Raises `UnknownSchemaId` or `RegistryUnavailable`."""
        ...

    async def schema_id(self, subject: str, schema: str) -> int:
        """The id of our schema under a subject. Raises `NotRegistered` or `RegistryUnavailable`."""
        ...


class LocalRegistry:
    """Ids from the packaged schemas: record number x 1000 + version.

    The numbers are written down in `schemas.avro.packaged.RECORDS` and never given to another record,
    so an id keeps its meaning when versions and records are added. Dossier event v1 is 2001.
    """

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        for entry in packaged.RECORDS:
            for version in packaged.versions(entry):
                schema_id = packaged.local_id(entry, version)
                self._texts[schema_id] = text = packaged.text(entry, version)
                self._ids[_canonical(text)] = schema_id

    async def schema(self, schema_id: int) -> str:
        """See `SchemaRegistry`."""
        try:
            return self._texts[schema_id]
        except KeyError:
            raise UnknownSchemaId(schema_id) from None

    async def schema_id(self, subject: str, schema: str) -> int:
        """See `SchemaRegistry`. The id does not depend on the subject."""
        try:
            return self._ids[_canonical(schema)]
        except KeyError:
            raise NotRegistered(subject) from None

    def ids(self) -> Mapping[int, str]:
        """Every id with its schema, for those who serve `GET /schemas/ids/{id}`."""
        return dict(self._texts)


class HttpRegistry:
    """A client of the Confluent REST API. Concurrent questions about one id are one request."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession | None = None,
        *,
        timeout: float = 5.0,
    ) -> None:
        """`timeout` is the total of one request in seconds. A session given is not closed here."""
        base = URL(url)
        if base.scheme not in ("http", "https") or not base.host:
            raise ValueError(
                "the registry's URL must begin with http:// or https:// and name a host"
            )
        self._url = str(base).rstrip("/")
        self._shown = str(base.with_user(None)).rstrip("/")  # a URL may carry a password
        self._session = session
        self._owns_session = session is None
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._asked: dict[int, asyncio.Task[str]] = {}

    async def close(self) -> None:
        """Close the session, unless it was given."""
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def schema(self, schema_id: int) -> str:
        """See `SchemaRegistry`. Concurrent calls share one request and its answer."""
        task = self._asked.get(schema_id)
        if task is None:
            task = asyncio.create_task(self._schema(schema_id), name=f"schema id {schema_id}")
            self._asked[schema_id] = task
            task.add_done_callback(lambda done: self._answered(schema_id, done))
        # Shielded: one caller's cancellation must not take the answer from the others.
        return await asyncio.shield(task)

    async def schema_id(self, subject: str, schema: str) -> int:
        """See `SchemaRegistry`."""
        answer = await self._call("POST", f"/subjects/{_part(subject)}", {"schema": schema})
        if answer is None:
            raise NotRegistered(subject)
        return self._number(answer, "id")

    async def subjects(self) -> Sequence[str]:
        """All subjects. Raises `RegistryUnavailable`."""
        answer = await self._call("GET", "/subjects")
        return [str(subject) for subject in answer or ()]

    async def versions(self, subject: str) -> Sequence[str]:
        """The schemas of a subject, oldest first; empty for a new subject."""
        path = f"/subjects/{_part(subject)}/versions"
        numbers = await self._call("GET", path)
        texts: list[str] = []
        for number in sorted(numbers or ()):
            answer = await self._call("GET", f"{path}/{number}")
            if answer is not None:  # deleted in the meantime
                texts.append(self._text(answer, "schema"))
        return texts

    async def compatibility(self, subject: str) -> str | None:
        """The level set for a subject itself; ``None`` where only the registry's default holds."""
        answer = await self._call("GET", f"/config/{_part(subject)}")
        return None if answer is None else self._text(answer, "compatibilityLevel")

    async def register(self, subject: str, schema: str) -> int:
        """Register a schema under FULL_TRANSITIVE, and return its id. For the command line only.

        Compatibility with every version that the registry has is checked here first, because not every
        server checks it. Raises `IncompatibleSchema` or `RegistryUnavailable`.
        """
        known = await self.versions(subject)
        if _canonical(schema) not in {_canonical(text) for text in known}:
            problems = check_versions([json.loads(text) for text in (*known, schema)])
            if problems:
                raise IncompatibleSchema(f"subject {subject}: " + "; ".join(problems))
        strict = await self._demand_full_transitive(subject)
        answer = await self._call(
            "POST", f"/subjects/{_part(subject)}/versions", {"schema": schema}
        )
        if answer is None:
            raise RegistryUnavailable(
                f"registry {self._shown}: subject {subject} cannot be registered there"
            )
        if not strict and not await self._demand_full_transitive(subject):
            raise RegistryUnavailable(
                f"registry {self._shown}: subject {subject} is registered, but its compatibility cannot be set "
                f"to {FULL_TRANSITIVE}; set it by hand"
            )
        return self._number(answer, "id")

    async def _demand_full_transitive(self, subject: str) -> bool:
        """False where the server takes a level only for a subject that has a version already."""
        if await self.compatibility(subject) == FULL_TRANSITIVE:
            return True
        path = f"/config/{_part(subject)}"
        return await self._call("PUT", path, {"compatibility": FULL_TRANSITIVE}) is not None

    async def _schema(self, schema_id: int) -> str:
        answer = await self._call("GET", f"/schemas/ids/{schema_id}")
        if answer is None:
            raise UnknownSchemaId(schema_id)
        if isinstance(answer, dict) and answer.get("schemaType", "AVRO") != "AVRO":
            raise UnknownSchemaId(schema_id, "it is no Avro schema")
        return self._text(answer, "schema")

    def _answered(self, schema_id: int, done: asyncio.Task[str]) -> None:
        del self._asked[schema_id]  # the codec keeps answers; refusals are asked again
        if not done.cancelled():
            done.exception()  # every waiter may have gone; then nobody else looks at it

    async def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        """The answer as JSON; ``None`` where the registry says that there is no such thing."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        where = f"registry {self._shown}: {method} {path}"
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=None if body is None else json.dumps(body),
                headers={"Accept": f"{_JSON}, application/json", "Content-Type": _JSON},
                timeout=self._timeout,
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryUnavailable(f"{where}: {type(error).__name__}: {error}") from error
        try:
            answer = json.loads(raw)
        except ValueError:
            raise RegistryUnavailable(
                f"{where}: HTTP {status} without JSON; check the registry's URL and its path"
            ) from None
        if status == 200:
            return answer
        code = answer.get("error_code") if isinstance(answer, dict) else None
        text = str(answer.get("message", ""))[:300] if isinstance(answer, dict) else ""
        if status == 404 and code in _UNKNOWN_CODES:
            return None
        if status in (409, 422) and path.endswith("/versions"):
            raise IncompatibleSchema(f"{where}: HTTP {status} {text}")
        if status in (401, 403):
            text = "the registry refuses our credentials"
        raise RegistryUnavailable(f"{where}: HTTP {status} {text}")

    def _text(self, answer: Any, name: str) -> str:
        value = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(value, str):
            raise RegistryUnavailable(f"registry {self._shown}: an answer without {name}")
        return value

    def _number(self, answer: Any, name: str) -> int:
        value = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(value, int):
            raise RegistryUnavailable(f"registry {self._shown}: an answer without {name}")
        return value


async def register_all(
    registry: HttpRegistry, topics: Sequence[Topic] = TOPICS
) -> Mapping[str, Sequence[int]]:
    """Register every packaged version of every topic's record, oldest first; ids by subject.

    Registering what is there already changes nothing. Raises as `HttpRegistry.register`.
    """
    ids: dict[str, list[int]] = {}
    for topic in topics:
        entry = packaged.BY_CLASS[topic.record]
        ids[topic.subject] = [
            await registry.register(topic.subject, packaged.text(entry, version))
            for version in packaged.versions(entry)
        ]
    return ids


def _part(subject: str) -> str:
    return quote(subject, safe="")


def _canonical(text: str) -> str:
    """The same for texts that differ in white space and order of keys only."""
    return json.dumps(json.loads(text), sort_keys=True)
