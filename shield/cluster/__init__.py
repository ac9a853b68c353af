"""Several machines as one: how a node talks to the store that all of them share, a Valkey or Redis.

    settings   the table [cluster]
    script     the one function that a node calls there, every round
    store      the connection: a deadline for each call, a pause after a failure
    node       the rounds

What follows from what is heard stands in shield/policy/cluster/. No request waits for any of it, and where
`cluster.store` is empty nothing of this is imported but the settings.
"""
