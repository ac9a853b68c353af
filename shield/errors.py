"""The one error that ends a start."""

from __future__ import annotations


class StartError(Exception):
    """Shield cannot start. The text is one line for the operator: what was tried, and what stands in the way."""
