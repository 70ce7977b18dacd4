"""Studies: registered plans, whose runs are searches in stages."""
