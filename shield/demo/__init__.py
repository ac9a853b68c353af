"""A small site to shield, a small flood to send to it, and a solver for programs."""
