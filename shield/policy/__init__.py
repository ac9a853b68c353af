"""What to do with a request: pure, synchronous, and without a clock of its own.

Nothing in this package waits, reads a clock, or draws randomness: `now` (monotonic seconds) is an argument,
keys and entropy are handed in. The border is `shield.policy.engine.Engine`.
"""
