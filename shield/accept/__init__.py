"""From a listening socket to the first request: accepting, prelude, TLS, the first read."""
