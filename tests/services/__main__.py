"""Fetch what the servers of the tests need: `python -m tests.services`. Once fetched it does nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.services import apicurio, kafka, toxiproxy
from tests.services.server_process import ServiceFailed, ServiceMissing

FETCHED: Mapping[str, Callable[[], Path]] = {
    f"Kafka {kafka.VERSION}": kafka.fetch,
    f"Apicurio {apicurio.VERSION}": apicurio.fetch,
    f"toxiproxy {toxiproxy.VERSION}": toxiproxy.fetch,
}


def main() -> int:
    """0 when all is there; otherwise 1, and every remedy has been said."""
    failed = 0
    for name, fetch in FETCHED.items():
        try:
            print(f"{name}: {fetch()}", flush=True)
        except (ServiceMissing, ServiceFailed) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
