"""Who waits for a slot, and who goes next."""
