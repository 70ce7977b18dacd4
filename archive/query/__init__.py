"""Read access: queries from a file or a running search, result tables, standard questions."""
