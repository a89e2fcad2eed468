"""What protects people: the key, pseudonyms, who was erased, who objects, and who may read files."""
