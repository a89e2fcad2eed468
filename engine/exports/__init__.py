"""Files of segments for e-mail tools and spreadsheets."""
