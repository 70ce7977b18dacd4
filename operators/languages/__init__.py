"""Source-code analysis: parameters, code changes, fingerprints, undefined names."""
