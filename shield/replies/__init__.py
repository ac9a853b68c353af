"""What Shield says itself: refusals, challenges, errors, redirects, and its own pages."""
