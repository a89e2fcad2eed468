"""What warehouses are told of the published tables: descriptions, statements, loads."""
