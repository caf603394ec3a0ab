"""Tuning: a search over a model's settings; every trial trains for the same seconds, and validation images score it."""
