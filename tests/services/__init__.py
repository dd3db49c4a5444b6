"""Real servers for the tests, each in a temporary folder, on 127.0.0.1 and free ports.

Plain modules: a server is a context manager, with a pytest fixture of the same kind beside it. What the
machine lacks is said with what to install; nothing is skipped.
"""
