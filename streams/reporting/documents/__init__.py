"""Documents on paper and in Excel: a report as the form has it, from the figures of a snapshot and nothing else.

The same snapshot gives the same file byte for byte: no clock, no machine's fonts, no order of a set.
"""
