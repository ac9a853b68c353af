"""One admitted request on its way to the service, and the response on its way back."""
