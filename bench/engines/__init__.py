"""Where the cells of a prepared grid run: one after another in this process, or side by side in others."""
