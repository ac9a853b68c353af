"""How it is done: sockets, parsing, forwarding, and everything said to clients. All of the data path's I/O is here."""
