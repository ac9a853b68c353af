"""What the operator has set for single routes: the tables [[route]] of the config.

settings.py   one table: what it selects, and what it sets
readings.py   the paths that a service may take a path for
terms.py      what the routes that a request is under say of it, put together
selecting.py  finds that for a request
brake.py      the buckets of a route's `limit`
judge.py      stands before the judge, and asks the routes first
"""
