"""What any call to a backend needs, whichever the kind: both colours from one text, attempts under one deadline.

A call is written once, as a generator that yields each thing it needs done as a `Step`; `drivers` carry it out,
blocking or asynchronously.
"""
