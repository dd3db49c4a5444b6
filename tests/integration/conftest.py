"""One broker for all modules that ask for `kafka`: a session's fixture must be known in one place."""

from tests.services.kafka import kafka

__all__ = ["kafka"]
