"""``python -m connectors.gov_reporting.simulator``: one JSON line when ready; SIGTERM ends it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import orjson

from connectors.gov_reporting.simulator.profile import Profile
from connectors.gov_reporting.simulator.rules import Catalogue
from connectors.gov_reporting.simulator.server import ReportingSimulator
from connectors.national_portal.simulator.door import HOST


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    defaults = Profile()
    parser = argparse.ArgumentParser(
        prog="python -m connectors.gov_reporting.simulator",
        description="A simulated Government reporting system; on 127.0.0.1 unless --host says otherwise.",
    )
    parser.add_argument("--port", type=int, default=0, help="port of the calls; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=0, help="control port; 0 = a free one")
    parser.add_argument(
        "--host", default=HOST, help="address to listen on; 0.0.0.0 inside a container"
    )
    parser.add_argument("--db", required=True, help="SQLite file of its truth; made if missing")
    parser.add_argument(
        "--profile",
        choices=["existence", "state"],
        default=defaults.lookup,
        help="how much a look-up tells",
    )
    parser.add_argument(
        "--decide",
        choices=["none", "accept", "return", "return_silently", "ask_correction"],
        default=defaults.decide,
        help="what becomes at once of every revision that is taken",
    )
    parser.add_argument(
        "--today", type=date.fromisoformat, help="civil day, for early and late; else the clock's"
    )
    parser.add_argument("--catalogue", type=Path, help="JSON file with regimes and packets")
    parser.add_argument("--client-id", default=defaults.client_id)
    parser.add_argument("--client-secret", default=defaults.client_secret)
    parser.add_argument("--token-seconds", type=float, default=defaults.token_seconds)
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
        decide=options.decide,
        today=options.today,
        client_id=options.client_id,
        client_secret=options.client_secret,
        token_seconds=options.token_seconds,
    )
    catalogue = None
    if options.catalogue is not None:
        catalogue = Catalogue.model_validate(orjson.loads(options.catalogue.read_bytes()))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with ReportingSimulator(
        options.db,
        profile=profile,
        catalogue=catalogue,
        port=options.port,
        control_port=options.control_port,
        host=options.host,
        tls=options.tls,
    ) as system:
        ready = {
            "url": system.url,
            "token_url": system.token_url,
            "soap_url": system.soap_url,
            "control_url": system.control_url,
            "port": system.port,
            "control_port": system.control_port,
            "pid": os.getpid(),
        }
        sys.stdout.write(orjson.dumps(ready).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit status."""
    try:
        asyncio.run(_run(_arguments(argv)))
    except (OSError, ValueError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
