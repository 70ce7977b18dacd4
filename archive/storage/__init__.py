"""The DuckDB file: schema, migrations, single writer, rows."""
