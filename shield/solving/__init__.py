"""For programs that call a site behind Shield: solve its challenge when asked, within a budget, and keep the pass.

    httpx       transports for httpx.Client and httpx.AsyncClient (the extra `httpx`)
    aiohttp     a middleware for aiohttp.ClientSession, 3.12 or newer
    command     shield solve
    drive       the same conversation for all of them, one file of rules without I/O: conversation
    search      looks for nonces in processes beside this one (hand), so that no event loop waits
    passes      the pass of each origin
    challenge   what a site may ask, and a caller's budget

It imports nothing else of Shield, and nothing of Shield but the command line imports it: the proxy never needs it.
docs/protocol.md is what it follows; docs/programs.md says how to use it.
"""
