"""What Shield says itself: refusals, challenges, faults, redirects, and its own pages, each as a value."""
