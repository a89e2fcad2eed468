"""Runs on a schedule: what is done already, what is missing, whose turn it is, and whether a day is complete."""
