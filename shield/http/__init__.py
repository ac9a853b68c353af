"""HTTP/1 as bytes and values: grammar, heads, framing. Pure: no I/O, no clock."""
