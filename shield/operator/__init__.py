"""What an operator sees: the log, the metrics, the status, and the listener that serves them."""
