"""Learning and sampling: the Progressive GAN trainer and the architectures it is compared with.

The order of a training: `config` has all settings, `open_pictures` opens the real pictures, `schedule` tells level,
fade and rates from the images shown, `data` feeds minibatches, `zoo` has the networks (built of `layers`, `spectral`,
`modulation` and `attention`), `losses` and `steps` the game, `trainer` plays a step of it, and `training_run` keeps
log, sheets and checkpoints. What has learned is used by `sample`, `walk`, `timelapse`, `export` and `drawn_pictures`;
`importing` reads the generators of other programs; `plan` and `costs` count before anything is trained.
"""
