"""dE/dx without autograd, and whole chains as CUDA graphs: how `langevin` is fast."""
