"""What a run has to say to people: facts, sentences, figures, and the page and the terminal that show them."""
