"""What lies below HTTP: addresses, PROXY headers, ClientHellos, certificates, and the transport."""
