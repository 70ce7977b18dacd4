"""Hydra config groups. The YAML file is the name: there is no other registry."""
