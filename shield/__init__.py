"""Shield: a reverse proxy that keeps a web service usable while it is being flooded."""

__version__ = "0.1.0"
