"""Train the bundled checkpoints again, and print the lines of README.md about them.

Run it from the repository root: .venv/bin/python vaelib/assets/train_checkpoints.py
It takes names of checkpoints; without any it trains all. It writes checkpoints/*.pt, in
half precision, and brings SHA256SUMS up to date. On one machine the same bytes come out
every time; on another the bound differs by about 0.1.
"""

import hashlib
import sys
from typing import NamedTuple

import torch

from vaelib import data, models, training

SETTINGS = {"epochs": 20, "batch_size": 250, "learning_rate": 0.014, "device": "cpu"}


class Recipe(NamedTuple):
    """What one checkpoint is trained on, and the widths and seed of its network."""

    data_set: str
    hidden: int
    latents: int
    seed: int = 0


RECIPES = {
    "mnist_z20": Recipe("mnist", 400, 20),
    "mnist_z2": Recipe("mnist", 400, 2),
} | {f"cats_z10_seed{seed}": Recipe("cats", 128, 10, seed) for seed in range(5)}


def images_of(data_set: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The images to train and to test on."""
    if data_set == "cats":
        return data.cats(40_000, seed=0).images, data.cats(10_000, seed=1).images
    return data.load(data_set)[0], data.load(data_set, train=False)[0]


def build(recipe: Recipe, data_mean=None) -> models.VariationalAutoEncoder:
    """The network of a checkpoint: 784-H-Z with SiLU."""
    return models.VariationalAutoEncoder(
        784,
        recipe.hidden,
        recipe.latents,
        activation="silu",
        data_mean=data_mean,
        seed=recipe.seed,
    )


def update_hashes() -> None:
    """Write the SHA-256 of every bundled file to SHA256SUMS, as sha256sum does."""
    files = sorted((data.ASSETS / "mnist").glob("*.gz"))
    files += sorted((data.ASSETS / "checkpoints").glob("*.pt"))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  "
        f"{path.relative_to(data.ASSETS).as_posix()}\n"
        for path in files
    ]
    (data.ASSETS / "SHA256SUMS").write_text("".join(lines), "utf-8", newline="\n")


def main() -> None:
    folder = data.ASSETS / "checkpoints"
    folder.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RECIPES:
        recipe = RECIPES[name]
        train, test = images_of(recipe.data_set)
        model = build(recipe, train.mean(0))
        training.fit(model, train, seed=recipe.seed, **SETTINGS)
        weights = {key: value.half() for key, value in model.state_dict().items()}
        full = training.evaluate(model, test).mean().item()
        model.load_state_dict(weights)
        half = training.evaluate(model, test).mean().item()
        torch.save(weights, folder / f"{name}.pt")
        print(f"{name}: {full:.2f} nats; in half precision {half:.2f}", flush=True)
    update_hashes()


if __name__ == "__main__":
    main()
