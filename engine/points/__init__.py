"""Score cards: points of weighted rules, added up per user, with a ledger of what gave them."""
