"""Parent selection: node scores, samplers, tree descent."""
