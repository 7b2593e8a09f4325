"""Learning and sampling: the Progressive GAN trainer and the architectures it is compared with."""
