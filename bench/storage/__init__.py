"""Files written whole or not at all, sealed tensors, checkpoints."""
