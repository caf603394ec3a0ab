"""Models that travel: a cell's model as a folder that the Hugging Face hub takes, with a card that its record wrote."""
