"""Rates: what the portal scores a province on, by its own rules and to the last digit."""
