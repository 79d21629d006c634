"""Parts that a call of any kind needs: sync and async drivers, retries under one deadline, single-flight, rate limits.

A call is written once, as a generator that yields each operation as a `Step`. A driver (`drivers.py`) runs it, sync or
async.
"""
