"""The delivery engine: what the ledger owes goes out once, in order, with proof.

`decide.py` is the core, a pure function; `shell.py` does what it says; `group_commit.py`, `circuit.py`
and `plans.py` are the shell's parts.
"""
