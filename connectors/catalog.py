"""Every connector on one line: what it is called, which way it goes, what it speaks, where it is.

`streams.app` builds them; this table is for people, checks and documentation. Paths are
``module:name``, relative to this package.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which of the two protocols a connector implements."""

    SOURCE = "source"
    SINK = "sink"


@dataclass(frozen=True, slots=True)
class Line:
    """One connector."""

    name: str
    direction: Direction
    speaks: str
    connector: str
    settings: str
    simulator: str  # a package that runs with ``python -m``

    def load(self) -> type[object]:
        """The connector's class."""
        return _load(self.connector)

    def load_settings(self) -> type[object]:
        """The class of its settings."""
        return _load(self.settings)


def _load(path: str) -> type[object]:
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(f"connectors.{module}"), name)
    assert isinstance(found, type)
    return found


# fmt: off
CATALOG: tuple[Line, ...] = (
    #    name               direction         speaks                          connector                              settings                                       simulator
    Line("one_stop",        Direction.SOURCE, "SQL, the OpenCPS schema",      "one_stop.source:OneStopSource",       "one_stop.config:OneStopSettings",             "connectors.one_stop.simulator"),
    Line("national_portal", Direction.SINK,   "SOAP, X-Road 4.0, by dialect", "national_portal.sink:NationalPortal", "national_portal.config:NationalPortalSettings", "connectors.national_portal.simulator"),
    Line("gov_reporting",   Direction.SINK,   "REST or SOAP, by elements",    "gov_reporting.sink:GovReporting",     "gov_reporting.config:GovReportingSettings",     "connectors.gov_reporting.simulator"),
)
# fmt: on
