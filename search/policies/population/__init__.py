"""Populations: islands, MAP-Elites grids, descriptors, crossover partners."""
