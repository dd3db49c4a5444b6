"""A simulated national portal: a process of its own, with its own truth, that can be told to misbehave.

README.md in this folder tells how to start and steer it.
"""

from connectors.national_portal.simulator.profile import Profile
from connectors.national_portal.simulator.server import PortalSimulator

__all__ = ["PortalSimulator", "Profile"]
