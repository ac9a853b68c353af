"""How many requests the service gets at once, and how that is found out.

    slots        how many requests may be at the service, how many are, and the round since that changed
    samples      upstream times as they come in, bounded
    evidence     what a handful of them proves
    congestion   what a window says: x, and b, the same of an undisturbed service
    round        what a round says of the number of slots: too many, too few, or neither
    limit        how far L falls and rises, and whether it has been found
    probe        drains the service to measure b
    headroom     how many may be there beyond L, while others that have been there for long do nothing
    concurrency  puts them together: the limit, window by window and in haste

Cut by what is known, not by what is done: a window knows how slow the service is, a round knows whether the last change
of the limit was right, a probe knows what undisturbed means. Each answers with a value, and only concurrency.py acts.
"""
