"""The baselines that the short-run model is held against: a convolutional VAE and a DCGAN."""
