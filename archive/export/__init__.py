"""Export of lineages as git branches."""
