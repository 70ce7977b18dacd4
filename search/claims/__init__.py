"""Claims: confirmation on fresh seeds, sample sizes, intervals."""
