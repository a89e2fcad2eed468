"""What runs leave for those who were not there: a record of each, a log, metrics, and messages."""
