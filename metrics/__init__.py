"""Distances between sets of images; importable alone, knows nothing of the other rooms."""
