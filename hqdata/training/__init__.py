"""What both networks' training shares: photos and their licences, patches, one loop, exact resume, logs and samples.

`recipe` and `photos` prepare pictures, `patches` draws from them, `loop` runs and resumes, `perceptual` is the loss of
the adversarial stage. What one step does stands in `hqdata.restore.train` and `hqdata.upscale.train`.
"""
