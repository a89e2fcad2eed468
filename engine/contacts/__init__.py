"""Contacts: attributes of users, read, cleaned, judged and enriched."""
