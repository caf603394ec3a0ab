"""Where the cells of a prepared grid run: in this process, side by side in others, or on a cluster."""
