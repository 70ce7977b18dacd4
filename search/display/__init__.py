"""Terminal output: live display, throughput, final summary."""
