"""Plots, drawn from records and pictures alone."""
