"""The page: index.html."""
