"""The policy: who is served, who waits, who is challenged, who is refused. It is pure: no I/O, no clock, no randomness.

    engine.py           its border: the verbs that the rest of Shield calls
    request.py          a request, and what is noted on it
    entries.py          what is remembered of clients, addresses, networks and passes
    bucket, table, keys, sketch, notes                        what the parts are made of
    locations, identity, fingerprint, api_keys, exempt        who asks
    history, passes, pass_tokens, reputation, honeypots       what is known of them
    routes, upstream_times                                    what requests cost
    judge, tiers, ranks, refusals                             the verdict
    limits/                                                   the buckets
    standouts.py                                              programs, networks and routes that ask for much
    drops.py                                                  addresses that are not answered any more
    pressure/, windows.py                                     how overloaded the service is, window by window
    concurrency/, queue/, admission.py                        slots, and who waits for one
    challenge/, pricing/, sales.py                            challenges, their price, and what an answer buys
    settings.py, status.py                                    what can be set, and what is shown

Nothing here waits: `now` (monotonic seconds) is an argument, keys and entropy are handed in.
"""
