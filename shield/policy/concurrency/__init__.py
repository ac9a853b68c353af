"""How many requests the service gets at once, and how that is found out."""
