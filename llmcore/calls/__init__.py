"""Parts that every kind of call needs: sync and async drivers, retries under one deadline, single-flight, rate limits.

A call is written once, as a generator that yields each operation as a `Step`. A driver (`drivers.py`) runs the
generator, sync or async.
"""
