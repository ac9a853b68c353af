"""Who waits for a slot, and who goes next.

    queue     the requests that wait: who is let in, who goes, and who has waited too long
    order     the order of those that wait
    standing  whether the queue moves on (CoDel)
    turns     the turns that the tiers take in a brownout
    parked    those that wait apart, while long requests are at the service
    kept      what is kept for those who bought a pass

Only queue.py holds requests; the other parts say which of them is meant.
"""
