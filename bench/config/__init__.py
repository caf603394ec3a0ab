"""Profiles, overrides, the table of models, and the options that the programs share."""
