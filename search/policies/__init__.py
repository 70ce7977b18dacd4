"""Which node to improve next: compositions of a node score and a sampler."""
