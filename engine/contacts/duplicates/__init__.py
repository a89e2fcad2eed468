"""Contacts that are of one person: how they are found, and what was decided about them."""
