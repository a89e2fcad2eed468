"""One file per SQL dialect: the statements that make tables and fill them."""
