"""What looks on while a search runs and cannot change it: a command that is notified, and experiment trackers."""
