"""The networks of the course: an autoencoder and two variational autoencoders.

All map x (B, D) through one hidden layer of H units to Z latents and back. Every one
takes a `seed` for its initial weights, so that building it disturbs nothing else.
"""

import io
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelib import objectives
from vaelib.data import ASSETS, asset_bytes, check_floating, check_unit_interval

ACTIVATIONS = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
# Keeps sigma above zero where softplus underflows (inputs below about -100 in float32).
SIGMA_FLOOR = 1e-6
# With smaller output weights a decoder really starts at the data mean, whatever z is.
# A matter of clarity: over twelve seeds the final bound was the same with and without.
OUTPUT_SHRINKAGE = 0.3


def _activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"unknown activation {name!r}: choose one of {known}")
    return ACTIVATIONS[name]()


def _check_widths(**widths: int) -> None:
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"{name} is {width!r} but must be a whole number above 0")


def _check_last_axis(x: Tensor, width: int, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a tensor, not {type(x).__name__}: use torch.as_tensor"
        )
    check_floating(x, name)
    if x.shape[-1:] != (width,):
        hint = "use x.flatten(1) for images" if name == "x" else "one column a latent"
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} but its last axis must be {width}, "
            f"the width that this model was built for; {hint}"
        )


def _check_mean(data_mean: Tensor, input_dim: int) -> Tensor:
    shape = tuple(getattr(data_mean, "shape", ()))
    if not isinstance(data_mean, Tensor) or shape != (input_dim,):
        raise ValueError(
            f"data_mean is a {type(data_mean).__name__} of shape {shape} but "
            f"it must be ({input_dim},): use train.mean(0)"
        )
    check_unit_interval(data_mean, "data_mean")
    return data_mean.detach().clone().to(torch.get_default_dtype())


def _seeded_linears(seed: int, *sizes: tuple[int, int]) -> list[nn.Linear]:
    # nn.Linear draws its weights from the global generator, which is put back after.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [nn.Linear(inputs, outputs) for inputs, outputs in sizes]


def _start_at_mean(model: nn.Module, data_mean: Tensor | None) -> None:
    # Centres the input of a VAE at data_mean (D,), and its first pictures.
    input_dim = model.img_2hid.in_features
    model.register_buffer("data_mean", torch.zeros(input_dim))
    if data_mean is not None:
        model.data_mean = _check_mean(data_mean, input_dim)
        # Clamped: a pixel that is always black would ask for a bias of -infinity.
        model.hid_2img.bias.data.copy_(model.data_mean.logit(eps=1e-3))
        model.hid_2img.weight.data.mul_(OUTPUT_SHRINKAGE)


class Autoencoder(nn.Module):
    """x (B, D) to a code z (B, Z) and back, with nothing random about it.

    The output is linear, for the squared error; with activation="identity" the whole
    network is. `data_mean` (D,) centres the input and starts the output at the mean.
    Raises ValueError for widths below 1, an unknown activation or a wrong data_mean.
    """

    def __init__(
        self,
        input_dim: int,
        h_dim: int = 200,
        z_dim: int = 20,
        activation: str = "relu",
        data_mean: Tensor | None = None,
        seed: int = 0,
    ):
        super().__init__()
        _check_widths(input_dim=input_dim, h_dim=h_dim, z_dim=z_dim)
        self.activation = _activation(activation)
        self.img_2hid, self.hid_2z, self.z_2hid, self.hid_2img = _seeded_linears(
            seed, (input_dim, h_dim), (h_dim, z_dim), (z_dim, h_dim), (h_dim, input_dim)
        )
        self.register_buffer("data_mean", torch.zeros(input_dim))
        if data_mean is not None:
            self.data_mean = _check_mean(data_mean, input_dim)
            self.hid_2img.bias.data.copy_(self.data_mean)

    def encode(self, x: Tensor) -> Tensor:
        """The code of each x: (B, D) to (B, Z)."""
        _check_last_axis(x, self.img_2hid.in_features, "x")
        return self.hid_2z(self.activation(self.img_2hid(x - self.data_mean)))

    def decode(self, z: Tensor) -> Tensor:
        """The reconstruction from a code: (B, Z) to (B, D)."""
        _check_last_axis(z, self.z_2hid.in_features, "z")
        return self.hid_2img(self.activation(self.z_2hid(z)))

    def forward(self, x: Tensor) -> Tensor:
        """Encode and decode: (B, D) to x_reconstructed (B, D)."""
        return self.decode(self.encode(x))


class VariationalAutoEncoder(nn.Module):
    """q(z|x) = N(mu, sigma^2) by an encoder, p(x|z) by a decoder, p(z) = N(0, I).

    p(x|z) is Bernoulli for each pixel, or, with `sigma_x` given, Gaussian with that
    standard deviation. `data_mean` (D,) centres the input and starts the decoder there.
    Raises ValueError for widths below 1, an unknown activation, a wrong data_mean or a
    non-positive sigma_x. (Kingma and Welling 2014)
    """

    def __init__(
        self,
        input_dim: int,
        h_dim: int = 200,
        z_dim: int = 20,
        activation: str = "relu",
        sigma_x: float | None = None,
        data_mean: Tensor | None = None,
        seed: int = 0,
    ):
        super().__init__()
        _check_widths(input_dim=input_dim, h_dim=h_dim, z_dim=z_dim)
        if sigma_x is not None and not sigma_x > 0:
            raise ValueError(f"sigma_x must be positive but is {sigma_x}")
        self.sigma_x = sigma_x
        self.activation = _activation(activation)
        self.img_2hid, self.hid_2mu, self.hid_2sigma = _seeded_linears(
            seed, (input_dim, h_dim), (h_dim, z_dim), (h_dim, z_dim)
        )
        self.z_2hid, self.hid_2img = _seeded_linears(
            seed + 1, (z_dim, h_dim), (h_dim, input_dim)
        )
        _start_at_mean(self, data_mean)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and sigma of q(z|x), sigma > 0: (B, D) to two of (B, Z)."""
        _check_last_axis(x, self.img_2hid.in_features, "x")
        h = self.activation(self.img_2hid(x - self.data_mean))  # (B, H)
        return self.hid_2mu(h), F.softplus(self.hid_2sigma(h)) + SIGMA_FLOOR

    def decode_logits(self, z: Tensor) -> Tensor:
        """The logit of every pixel's mean: (B, Z) or (K, B, Z) to the same with D."""
        _check_last_axis(z, self.z_2hid.in_features, "z")
        return self.hid_2img(self.activation(self.z_2hid(z)))

    def decode(self, z: Tensor) -> Tensor:
        """Every pixel's mean, in [0, 1]: (B, Z) or (K, B, Z) to the same with D."""
        return torch.sigmoid(self.decode_logits(z))

    def forward(self, x: Tensor, generator=None) -> tuple[Tensor, Tensor, Tensor]:
        """x_reconstructed (B, D) from one sampled z, and mu, sigma (B, Z)."""
        mu, sigma = self.encode(x)
        z = objectives.sample_gaussian(mu, sigma, generator)
        return self.decode(z), mu, sigma

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z): x (B, D), z (B, Z) or (K, B, Z), to (B,) or (K, B), in nats."""
        if self.sigma_x is None:
            return objectives.bernoulli_log_likelihood(x, self.decode_logits(z))
        return objectives.gaussian_log_likelihood(x, self.decode(z), self.sigma_x)


class MixedVariationalAutoEncoder(nn.Module):
    """Gaussian latents z (B, Z) and one categorical latent y, with C categories.

    p(z) = N(0, I), p(y) uniform, p(x|z, y) a decoder of z beside y as one-hot, with
    Bernoulli pixels; q(z|x) q(y|x) by an encoder with one hidden layer for both.
    `data_mean` (D,) does what it does in VariationalAutoEncoder. Train it with
    `objectives.negative_mixed_elbo`, which needs no labels.
    Raises ValueError for widths below 1, fewer than two categories, an unknown
    activation or a wrong data_mean. (the generative model is M2 of Kingma et al. 2014,
    "Semi-supervised learning with deep generative models", with no example labelled;
    their q(z|x, y) sees y, ours does not. Nor does p(z) depend on y, as it does in
    Jiang et al. 2017 and Dilokthanakul et al. 2016, whose prior is a mixture)
    """

    sigma_x = None  # so that `fit` knows that the pixels are Bernoulli

    def __init__(
        self,
        input_dim: int,
        h_dim: int = 64,
        z_dim: int = 3,
        categories: int = 3,
        activation: str = "silu",
        data_mean: Tensor | None = None,
        seed: int = 0,
    ):
        super().__init__()
        _check_widths(
            input_dim=input_dim, h_dim=h_dim, z_dim=z_dim, categories=categories
        )
        if categories < 2:
            raise ValueError("categories is 1 but a choice needs two or more")
        self.activation = _activation(activation)
        self.img_2hid, self.hid_2mu, self.hid_2sigma, self.hid_2logits = (
            _seeded_linears(
                seed,
                *[(input_dim, h_dim), (h_dim, z_dim), (h_dim, z_dim)],
                (h_dim, categories),
            )
        )
        self.latents_2hid, self.hid_2img = _seeded_linears(
            seed + 1, (z_dim + categories, h_dim), (h_dim, input_dim)
        )
        _start_at_mean(self, data_mean)

    def encode_both(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """mu and sigma (B, Z) of q(z|x), and the logits (B, C) of q(y|x)."""
        _check_last_axis(x, self.img_2hid.in_features, "x")
        h = self.activation(self.img_2hid(x - self.data_mean))  # (B, H)
        sigma = F.softplus(self.hid_2sigma(h)) + SIGMA_FLOOR
        return self.hid_2mu(h), sigma, self.hid_2logits(h)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and sigma of q(z|x) alone: (B, D) to two of (B, Z)."""
        return self.encode_both(x)[:2]

    def decode_logits(self, z: Tensor, y: Tensor) -> Tensor:
        """The logit of every pixel's mean, of z (..., Z) and y (..., C), to (..., D).

        y is one-hot, or weights that add up to 1; z and y broadcast.
        """
        categories = self.hid_2logits.out_features
        _check_last_axis(z, self.latents_2hid.in_features - categories, "z")
        _check_last_axis(y, categories, "y")
        rows = torch.broadcast_shapes(z.shape[:-1], y.shape[:-1])
        latents = torch.cat([z.expand(*rows, -1), y.expand(*rows, -1)], -1)
        return self.hid_2img(self.activation(self.latents_2hid(latents)))

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Every pixel's mean, in [0, 1], of z (..., Z) and y (..., C), to (..., D)."""
        return torch.sigmoid(self.decode_logits(z, y))

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """log p(x|z, y), nats: x (B, D), z (..., B, Z), y (..., B, C), to (..., B)."""
        return objectives.bernoulli_log_likelihood(x, self.decode_logits(z, y))

    def log_likelihood_of_all(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z, y) of every y: x (B, D), z (B, Z) or (K, B, Z), to (..., B, C)."""
        categories = self.hid_2logits.out_features
        choices = torch.eye(categories, dtype=z.dtype, device=z.device)
        # Each category along an axis of its own, in front: (C, 1, 1, C) for (K, B, Z).
        choices = choices.view(categories, *[1] * (z.ndim - 1), categories)
        return self.log_likelihood(x, z, choices).movedim(0, -1)


def load_weights(model: nn.Module, name: str, folder: Path = ASSETS) -> nn.Module:
    """Fill `model` with the bundled checkpoint `name` and return it.

    Raises FileNotFoundError or RuntimeError for a missing or damaged file, ValueError
    for a checkpoint whose layers have other shapes than the model's.
    """
    content = asset_bytes(f"checkpoints/{name}.pt", folder)
    weights = torch.load(io.BytesIO(content), weights_only=True)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise ValueError(
                f"checkpoint {name!r} does not fit this model: {key} is "
                f"{found.get(key, 'absent')} there but {wanted.get(key, 'absent')} "
                "here; build the model with the widths of assets/README.md"
            )
    model.load_state_dict(weights)
    return model
