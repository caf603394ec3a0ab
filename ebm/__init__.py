"""The short-run MCMC energy-based model: energy nets, the Langevin sampler, the model and its trainer."""
