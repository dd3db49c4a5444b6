"""The delivery engine: what the ledger owes goes out once, in order, with proof.

`decide.py` is the core, a pure function. `shell.py` loads dossiers and sends an `errand.py` for each,
with the means of `dispatch.py`. `group_commit.py`, `circuit.py`, `evolve.py` and `plans.py` are
their parts.
"""
