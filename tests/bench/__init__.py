"""`make bench`: what one delivery costs the hub, beside a bare zeep loop and a bare lxml loop.

What is compared, and how it is measured, stands in `__main__.py`.
"""
