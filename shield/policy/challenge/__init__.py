"""Challenges: proofs of work that a client must solve to buy a pass."""
