"""A simulated Government reporting system: a process of its own, with its own truth, that can be told to misbehave.

README.md in this folder tells how to start and steer it.
"""

from connectors.gov_reporting.simulator.profile import Profile
from connectors.gov_reporting.simulator.server import ReportingSimulator

__all__ = ["Profile", "ReportingSimulator"]
