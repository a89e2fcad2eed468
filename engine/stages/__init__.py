"""What a run consists of, in the order in which the data meets it: opening, preparation, learning, scoring, counts."""
