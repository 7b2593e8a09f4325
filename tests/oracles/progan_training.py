"""ProGAN's training written down once more, slowly and in float64, from its description (Karras et al. 2018).

Pictures have the largest size throughout, as in the authors' code: a level's are enlarged, the discriminator sees them
shrunk, and the slope is taken at the full size. Adam and the average are written out. Networks are the package's own,
held by other tests, and random numbers come from its streams by purpose.
"""

import copy
import math

import numpy as np
import torch
from torch.nn import functional

from gan.streams import stream

LATENT, LAST_LEVEL = 8, 4


def train(config, images, labels, networks, *, steps):
    """Return generator, discriminator and average after so many steps from the given networks."""
    generator, discriminator = (copy.deepcopy(network).double() for network in networks)
    average, shown, phase, moments = copy.deepcopy(generator), 0, None, {}
    seed, minibatch = config.training.seed, config.schedule.minibatch
    for _ in range(steps):
        lod = _lod(shown, config.schedule)
        level, fade = LAST_LEVEL - math.floor(lod), 1 - (lod - math.floor(lod))
        if phase != (math.floor(lod), math.ceil(lod)):
            phase, moments = (math.floor(lod), math.ceil(lod)), {"g": {}, "d": {}}
        rate = _rate(shown, 1 << level, config.schedule)
        for repeat in range(config.training.critic_steps):
            real, named = _real(images, labels, shown, minibatch, seed, level=level, fade=fade)
            latents = _normal(seed, f"critic-{repeat}", shown, minibatch)
            loss = _critic_loss(generator, discriminator, real, named, latents, seed, shown, level=level, fade=fade)
            _descend(discriminator, loss, rate, moments["d"])
            _follow(average, generator, 0.5 ** (minibatch / config.training.average_half_life_images))
            shown += minibatch
        chosen = torch.randint(len(images), (minibatch,), generator=stream(seed, "labels", shown))
        named = labels[chosen].double()
        fake = generator(_normal(seed, "generator", shown, minibatch), named, level, fade)
        scores, logits = discriminator.judge(fake, level=level, fade=fade)
        _descend(generator, (-scores + _cross_entropy(logits, named)).mean(), rate, moments["g"])
    return generator, discriminator, average


def _lod(shown, schedule):
    span = schedule.stable_images + schedule.fade_images
    grown, within = divmod(shown, span)
    return max(LAST_LEVEL - 2 - grown - max(within - schedule.stable_images, 0) / schedule.fade_images, 0.0)


def _rate(shown, resolution, schedule):
    rise = math.exp(-5 * (1 - shown / schedule.rise_images) ** 2) if shown < schedule.rise_images else 1.0
    return rise * schedule.rate_at.get(resolution, schedule.rate)


def _real(images, labels, shown, minibatch, seed, *, level, fade):
    """Return the minibatch at the level's size, mixed with its enlarged halves, and its labels."""
    count = len(images)
    places = range(shown, shown + minibatch)
    chosen = [np.random.default_rng((seed, place // count)).permutation(count)[place % count] for place in places]
    real = images[chosen].double()
    for _ in range(LAST_LEVEL - level):
        real = functional.avg_pool2d(real, 2)
    real = real.round() / 127.5 - 1  # stored sizes are whole numbers
    coins = torch.randint(0, 2, (minibatch,), generator=stream(seed, "mirror", shown), dtype=torch.uint8)
    for index in range(minibatch):
        if coins[index]:
            real[index] = real[index].flip(2)
    halves = functional.interpolate(functional.avg_pool2d(real, 2), scale_factor=2)
    return fade * real + (1 - fade) * halves, labels[chosen].double()


def _normal(seed, purpose, shown, minibatch):
    return torch.randn(minibatch, LATENT, generator=stream(seed, purpose, shown)).double()


def _critic_loss(generator, discriminator, real, named, latents, seed, shown, *, level, fade):
    times = 1 << (LAST_LEVEL - level)

    def full(pictures):
        return pictures.repeat_interleave(times, 2).repeat_interleave(times, 3)

    def judged(pictures):
        return discriminator.judge(functional.avg_pool2d(pictures, times), level=level, fade=fade)

    with torch.no_grad():
        fake = full(generator(latents, named, level, fade))
    shares = torch.rand(len(real), generator=stream(seed, "shares", shown)).double().reshape(-1, 1, 1, 1)
    between = (full(real) + shares * (fake - full(real))).requires_grad_()
    (slope,) = torch.autograd.grad(judged(between)[0].sum(), between, create_graph=True)
    (real_scores, real_logits), (scores, logits) = judged(full(real)), judged(fake)
    penalty = 10 * (slope.square().sum((1, 2, 3)).sqrt() - 1).square() + 0.001 * real_scores.square()
    guesses = _cross_entropy(real_logits, named) + _cross_entropy(logits, named)
    return (scores - real_scores + penalty + guesses).mean()


def _cross_entropy(logits, named):
    return functional.cross_entropy(logits, named.argmax(1), reduction="none")


def _descend(network, loss, rate, moments):
    """Take Adam's step with beta1 = 0, beta2 = 0.99: no momentum, and a corrected mean of squares."""
    named = list(network.named_parameters())
    gradients = torch.autograd.grad(loss, [value for _, value in named], allow_unused=True)
    with torch.no_grad():
        for (name, value), gradient in zip(named, gradients, strict=True):
            if gradient is None:
                continue
            squares, step = moments.get(name, (torch.zeros_like(value), 0))
            squares = 0.99 * squares + 0.01 * gradient.square()
            moments[name] = squares, step + 1
            value -= rate * gradient / ((squares / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8)


def _follow(average, generator, decay):
    with torch.no_grad():
        for held, value in zip(average.parameters(), generator.parameters(), strict=True):
            held.mul_(decay).add_(value * (1 - decay))
