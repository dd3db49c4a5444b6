"""Kills, freezes, starves and deceives a whole hub, and judges by what the far side holds."""
