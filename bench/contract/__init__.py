"""What models and harness agree on: all that `ebm/` and `baselines/` may import."""
