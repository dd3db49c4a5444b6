"""Both registries under the one contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from schemas.registry import HttpRegistry, LocalRegistry, register_all
from tests.contract.registry_contract import RegistryContract
from tests.registry_fake import RegistryFake


class TestLocalRegistry(RegistryContract):
    @pytest.fixture
    def registry(self) -> LocalRegistry:
        return LocalRegistry()


class TestHttpRegistry(RegistryContract):
    @pytest.fixture
    async def registry(self) -> AsyncIterator[HttpRegistry]:
        async with RegistryFake(prefix="/apis/ccompat/v7") as server:
            registry = HttpRegistry(server.url + "/")
            await register_all(registry)
            yield registry
            await registry.close()
