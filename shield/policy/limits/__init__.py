"""The buckets that a request touches, and what it pays.

limits.py     in calm weather, and for T0 and T1
squeeze.py    where measures of pressure apply
charges.py    what an admitted request counts as, and what hitting a limit says of a client
"""
