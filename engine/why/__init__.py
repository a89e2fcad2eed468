"""Questions about segments: why a user is in one, what one is, and what a rule would give before it is saved."""
