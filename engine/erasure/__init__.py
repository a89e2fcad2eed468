"""Everything that is held about people below an output root: found, handed out, and taken away."""
