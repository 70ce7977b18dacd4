"""Source-code analysis: parameters, fingerprints, similarity, undefined names."""
