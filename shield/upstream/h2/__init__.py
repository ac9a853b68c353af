"""HTTP/2 to servers: connections that carry a hundred requests at a time, and the streams of which each carries one."""
