"""The quality of the data: what is measured while rows are read, the table of it, limits, and trends."""
