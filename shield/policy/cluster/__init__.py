"""Several machines as one: what each of them, a *node*, makes of what the others say over the store.

    seals      values in the store are signed: who can write there can plant nothing
    members    which nodes there are, and what part of a limit is this one's
    side       what this node's engine tells the others, and hears from them
    answers    an answer to a challenge buys one pass, whichever node it is sent to
    leases     what clients have used up, over all nodes
    counting   what all together ask of the service: pressure, attack, price
    changes    the operator's rules: of two changes the newer one holds

A request never waits for any of it: a node decides by itself, by what it has heard so far. Here is only what follows
from what was heard; who talks to the store is shield/cluster/.
"""
