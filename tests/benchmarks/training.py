"""Seconds to a test bound of 105.6 nats: `fit` against the loop that everyone writes.

Run it from the repository root: .venv/bin/python tests/benchmarks/training.py

Both train 784-400-20 on grey-scale MNIST with the Bernoulli loss, in one run on one
machine. The everyday loop is torchvision's MNIST with ToTensor sample by sample behind
a DataLoader, ReLU, log-variance, Adam at 1e-3, batches of 128, ten epochs. Its clock
stops when its test bound reaches the target, or after ten epochs. A `fit`, each with a
seed of its own, follows every one of its epochs, so that both meet the same machine.
Bounds are minus the ELBO of all 10,000 test images with a sampled z; the time that
measuring them takes is left out of both.
"""

import argparse
import gzip
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from vaelib import data, models, training

TARGET = 105.6


class EverydayVAE(nn.Module):
    """The network of the well-known example: 784-400-20, ReLU, log-variance."""

    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(784, 400), nn.Linear(400, 784)
        self.mu, self.log_var = nn.Linear(400, 20), nn.Linear(400, 20)
        self.from_z = nn.Linear(20, 400)

    def forward(self, x):
        h = F.relu(self.hidden(x))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return torch.sigmoid(self.output(F.relu(self.from_z(z)))), mu, log_var


def everyday_loss(x_reconstructed, x, mu, log_var):
    """Cross entropy and KL, summed over everything."""
    bce = F.binary_cross_entropy(x_reconstructed, x, reduction="sum")
    return bce - 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())


def torchvision_mnist(folder: Path):
    """The bundled files as torchvision's own data set, nothing downloaded."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (data.ASSETS / "mnist").glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return datasets.MNIST(folder, transform=transforms.ToTensor())


def synchronise(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def everyday_bound(model, test) -> float:
    with torch.no_grad():
        x_reconstructed, mu, log_var = model(test)
        return (everyday_loss(x_reconstructed, test, mu, log_var) / len(test)).item()


def everyday_training(dataset, device):
    """Yield (seconds so far, model) after each epoch of the loop everyone writes."""
    torch.manual_seed(0)
    model = EverydayVAE().to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(dataset, batch_size=128, shuffle=True)
    seconds = 0.0
    while True:
        started = time.perf_counter()
        for images, _ in loader:
            x = images.to(device).view(-1, 784)
            optimiser.zero_grad()
            x_reconstructed, mu, log_var = model(x)
            loss = everyday_loss(x_reconstructed, x, mu, log_var)
            loss.backward()
            loss.item()
            optimiser.step()
        synchronise(device)
        seconds += time.perf_counter() - started
        yield seconds, model


def time_fit(train, test, device, seed) -> tuple[float, float]:
    """(seconds, test bound) of the course's recipe: what `fit` does by default."""
    started = time.perf_counter()
    model = models.VariationalAutoEncoder(
        784, 400, 20, activation="silu", data_mean=train.mean(0), seed=seed
    )
    training.fit(model, train, seed=seed, device=device, progress=False)
    synchronise(device)
    seconds = time.perf_counter() - started
    return seconds, training.evaluate(model, test).mean().item()


def compare(dataset, train, test, device, epochs):
    """Run both in turns, so that a busy machine slows both; print every figure."""
    fits = []
    everyday = everyday_training(dataset, device)
    for epoch in range(1, epochs + 1):
        slow, model = next(everyday)
        bound = everyday_bound(model, test.to(device))
        fits.append(time_fit(train, test, device, seed=epoch))
        seconds, fit_bound = fits[-1]
        print(
            f"everyday loop, epoch {epoch:2}: {slow:6.1f} s, {bound:6.2f} nats | "
            f"fit, 2 epochs, seed {epoch:2}: {seconds:5.2f} s, {fit_bound:.2f} nats",
            flush=True,
        )
        if bound <= TARGET:
            break
    fast = statistics.median(seconds for seconds, _ in fits)
    worst = max(fit_bound for _, fit_bound in fits)
    print(f"everyday loop: {slow:.1f} s to {bound:.2f} nats")
    print(
        f"fit: {fast:.2f} s (median), at most {worst:.2f} nats over {len(fits)} seeds"
    )
    print(f"fit is {slow / fast:.1f} times faster")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=10, help="of the everyday loop")
    arguments = parser.parse_args()
    device = training.choose_device(arguments.device)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    (train, _), (test, _) = data.load("mnist"), data.load("mnist", train=False)
    first, _ = time_fit(train, test, device, seed=0)
    print(f"the first fit of the process, device start-up included: {first:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        dataset = torchvision_mnist(Path(folder))
        compare(dataset, train, test, device, arguments.epochs)


if __name__ == "__main__":
    main()
