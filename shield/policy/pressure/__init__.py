"""How badly the service is overloaded, and whether an attack is on."""
