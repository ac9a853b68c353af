"""The second listener, for the operator: health, metrics and status."""
