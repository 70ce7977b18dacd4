"""Ray executor: cluster connection, worker pool, worker actors."""
