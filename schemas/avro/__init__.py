"""Avro: the published schemas (one folder per record, one file per version) and the way to the records.

A published file is never edited. `README.md` of `schemas` says how a version is added.
"""
