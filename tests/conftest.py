"""What every test module shares with pytest itself; nothing is imported from here."""

import pytest

# The contract suites are plain modules: their asserts explain themselves only when rewritten.
pytest.register_assert_rewrite("tests.contract")
