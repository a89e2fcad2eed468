"""Retention: what has been kept for longer than the configuration says goes, people and records."""
