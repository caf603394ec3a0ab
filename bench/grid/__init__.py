"""The grid of cells: plan it, train and evaluate each cell, write what came out."""
