"""What every test module shares with pytest itself; nothing is imported from here."""

import os

import pytest
from hypothesis import settings

# pytest-xdist names a width to its processes; consoles made at import would keep to it for ever.
os.environ.pop("COLUMNS", None)

# The contract suites are plain modules: their asserts explain themselves only when rewritten.
pytest.register_assert_rewrite("tests.contract")

# How long an example takes says something about the machine only.
settings.register_profile("hub", deadline=None)
settings.load_profile("hub")
