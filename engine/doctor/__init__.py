"""What a machine must have for a run, looked at before one: nothing is changed, and nothing is left behind."""
