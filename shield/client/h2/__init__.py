"""Clients that speak HTTP/2 (RFC 9113): one connection with many streams, each a request like any other."""
