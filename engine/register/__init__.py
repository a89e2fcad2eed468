"""The record of processing that each run leaves."""
