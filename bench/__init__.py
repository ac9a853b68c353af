"""Shield measured against its peers, on loopback only. Start at bench/README.md, or `python -m bench --help`."""
