"""The tables and figures of the short-run MCMC paper (Nijkamp et al. 2019, arXiv 1904.09770), at a scale of choice.

`python -m bench.paper` runs the paper's grid as ordinary cells of `bench.grid.grid`; everything else is rebuilt from
their records.
"""
