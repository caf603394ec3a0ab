"""Races: scores against training seconds, measured in slices that the models of a race take in turn."""
