"""Papers on studies: every number is a query on the archive."""
