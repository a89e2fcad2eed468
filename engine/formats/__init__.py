"""Table formats: what is published locally is committed to Delta Lake or Iceberg tables."""
