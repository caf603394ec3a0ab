"""What only a real GPU can show: its tests, and the session `nox -s gpu` (docs/scale.md)."""
