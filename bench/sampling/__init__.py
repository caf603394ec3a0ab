"""Who draws the samples that are scored: this process, and others of this machine or a cluster beside it."""
