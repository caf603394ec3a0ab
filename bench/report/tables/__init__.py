"""One table model and its formats."""
