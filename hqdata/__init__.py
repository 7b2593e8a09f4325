"""What happens to one picture: from a photo to a scored face crop, and crops to shards.

The order of a build: `sources` lists and reads photos, `landmarks` finds the faces, `restore` removes JPEG artefacts,
`upscale` enlarges four times, `align` cuts the face out, `quality` scores the crop, `ranking` picks the best and
`shards` writes and reads the result. Nothing here knows of Dask; `pipelines` runs these functions on many workers.

Reconstructs the data set of Karras et al. 2018, "Progressive Growing of GANs", appendix C.
"""
