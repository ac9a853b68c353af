"""The client side: connections, who is at the other end, and what each of them waits for."""
