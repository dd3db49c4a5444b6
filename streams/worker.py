"""One worker process: opens the hub, runs its parts, ends with a status that a supervisor understands.

0   asked to stop, and stopped in order
1   did not start: settings, ledger, topics, registry or keys; every problem is named
70  a part crashed, or did not stop in time: start again, the ledger knows where to go on
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Collection
from typing import NoReturn

import uvloop
from structlog.typing import FilteringBoundLogger

from connectors.errors import DeliveryError
from connectors.gov_reporting.elements import ElementsError
from connectors.national_portal.dialect import DialectError
from monitoring.crash_points import refusal
from monitoring.logging import configure_logging
from schemas.dossier.csv_table import TableError
from schemas.ledger.model import LedgerMismatch, LedgerReplaced, LedgerUnavailable
from schemas.registry import RegistryError
from schemas.sealing import SealError
from streams import topology
from streams.app import open_hub, parts
from streams.producer import NotConfirmed
from streams.settings import Settings
from streams.supervisor import PartCrashed, supervise
from streams.topic_check import BrokerUnreachable, TopicsUnfit
from streams.topology import WorkerPart

NOT_STARTED = 1
CRASHED = 70
GRACE_SECONDS = 25.0  # for the parts; container runtimes kill after 30
CLOSE_SECONDS = 4.0  # for what they shared

_CANNOT_START = (
    BrokerUnreachable,
    DeliveryError,
    DialectError,
    ElementsError,
    LedgerMismatch,
    LedgerUnavailable,
    NotConfirmed,
    OSError,
    RegistryError,
    SealError,
    TableError,
    TopicsUnfit,
)


def run_worker(settings: Settings, wanted: Collection[WorkerPart] = frozenset(WorkerPart)) -> int:
    """Run the wanted parts until SIGTERM or SIGINT. Returns the process's exit status."""
    logger = configure_logging(
        level=settings.monitoring.log_level,
        json={"json": True, "console": False}.get(settings.monitoring.log_format),
        environment=settings.environment,
    )
    if (why := refusal(settings.environment)) is not None:
        logger.critical("worker_not_started", why=why)
        return NOT_STARTED
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, wanted, logger))


async def _work(
    settings: Settings, wanted: Collection[WorkerPart], logger: FilteringBoundLogger
) -> int:
    def die(why: str) -> NoReturn:
        logger.critical("worker_died", why=why)
        sys.stderr.flush()
        os._exit(CRASHED)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            die("asked a second time to stop")
        logger.info("worker_stopping")
        stop.set()
        loop.call_later(
            GRACE_SECONDS + CLOSE_SECONDS, die, "did not end after its parts had stopped"
        )

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    started = False
    try:
        async with open_hub(settings, logger=logger, die=die) as hub, parts(hub, wanted) as running:
            started = True
            logger.info("worker_started", parts=[name for name, _ in running], owner=hub.owner)
            await supervise(
                running, stop=stop, grace=GRACE_SECONDS, die=die, last=topology.STOPPED_LAST
            )
    except PartCrashed as crash:
        logger.critical("worker_crashed", part=crash.name, why=str(crash), exc_info=crash.__cause__)
        return CRASHED
    except LedgerReplaced as error:
        # Also while starting: of several that start after a restore, another was the first to begin it.
        logger.critical("worker_crashed", why=type(error).__name__)
        return CRASHED
    except _CANNOT_START as error:
        if started:
            logger.critical("worker_crashed", why=type(error).__name__)
            return CRASHED
        for problem in error.problems if isinstance(error, TopicsUnfit) else [str(error)]:
            logger.critical("worker_not_started", why=problem)
        return NOT_STARTED
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    logger.info("worker_stopped")
    return 0
