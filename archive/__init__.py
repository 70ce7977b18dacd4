"""The solution tree in DuckDB: records, schema, views, lineage, git export. ``python -m archive --help``."""
