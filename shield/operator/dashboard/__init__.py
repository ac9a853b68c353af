"""The dashboard: its page, style and script, and who reads them (files.py)."""
