"""The language of rules: SQL conditions over one user, read, checked, typed and compiled."""
