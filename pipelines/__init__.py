"""Builds: the rooms run over many photos and many processes; the only room that knows Dask."""
