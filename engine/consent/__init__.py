"""Who agreed to what: a log of consents, read as of a day, and what is withheld without."""
