"""The demo: a working day of a province on one machine, and the verdict from the far sides' truth."""
