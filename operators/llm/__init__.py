"""Language models: one protocol, Claude, a scripted one, prices, and the meter that keeps the caps."""
