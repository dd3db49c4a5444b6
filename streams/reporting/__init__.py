"""Periodic reports: counted, frozen, signed, sent, explained."""
