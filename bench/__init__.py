"""Shield measured against its peers, on loopback only. `python -m bench --help`; what each figure means: bench/README.md."""
