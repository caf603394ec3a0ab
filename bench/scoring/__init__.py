"""What every program runs with, and the scores of a checkpoint or of images made elsewhere."""
