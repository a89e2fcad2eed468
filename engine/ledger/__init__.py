"""Who is in which segment since when: the ledger that each date writes from that of the date before."""
