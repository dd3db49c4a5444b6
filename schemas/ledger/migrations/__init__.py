"""The ledger's migrations, run by `schemas.ledger.migrate`."""
