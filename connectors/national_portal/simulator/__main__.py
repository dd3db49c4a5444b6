"""``python -m connectors.national_portal.simulator``: one JSON line when ready; SIGTERM ends it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from connectors.national_portal.simulator.contract import ContractError
from connectors.national_portal.simulator.door import HOST
from connectors.national_portal.simulator.profile import Profile
from connectors.national_portal.simulator.rules import Catalogue
from connectors.national_portal.simulator.server import PortalSimulator


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    defaults = Profile()
    parser = argparse.ArgumentParser(
        prog="python -m connectors.national_portal.simulator",
        description="A simulated national portal; on 127.0.0.1 unless --host says otherwise.",
    )
    parser.add_argument("--port", type=int, default=0, help="SOAP port; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=0, help="control port; 0 = a free one")
    parser.add_argument(
        "--host", default=HOST, help="address to listen on; 0.0.0.0 inside a container"
    )
    parser.add_argument("--db", required=True, help="SQLite file of its truth; made if missing")
    parser.add_argument(
        "--profile",
        choices=["existence", "state", "steps"],
        default=defaults.lookup,
        help="how much a look-up tells",
    )
    parser.add_argument(
        "--wsdl", default="adapter", help="adapter, or the path of a contract description (.toml)"
    )
    parser.add_argument("--catalogue", type=Path, help="JSON file with procedures and agencies")
    parser.add_argument("--username", default=defaults.username)
    parser.add_argument("--password", default=defaults.password)
    parser.add_argument("--session-seconds", type=float, default=defaults.session_seconds)
    parser.add_argument(
        "--tls",
        type=Path,
        metavar="FOLDER",
        help="speak TLS, with certificates made in this folder; a caller trusts its ca.pem",
    )
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace) -> None:
    profile = Profile(
        lookup=options.profile,
        username=options.username,
        password=options.password,
        session_seconds=options.session_seconds,
    )
    catalogue = None
    if options.catalogue is not None:
        catalogue = Catalogue.model_validate(orjson.loads(options.catalogue.read_bytes()))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with PortalSimulator(
        options.db,
        profile=profile,
        contract=options.wsdl,
        catalogue=catalogue,
        port=options.port,
        control_port=options.control_port,
        host=options.host,
        tls=options.tls,
    ) as portal:
        ready = {
            "url": portal.url,
            "control_url": portal.control_url,
            "port": portal.port,
            "control_port": portal.control_port,
            "pid": os.getpid(),
        }
        sys.stdout.write(orjson.dumps(ready).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit status."""
    try:
        asyncio.run(_run(_arguments(argv)))
    except (ContractError, OSError, ValueError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
