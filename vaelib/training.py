"""One training loop for every model of the course.

The data stay in one tensor on the device and are shuffled by index; on a GPU a whole
step is one captured CUDA graph. Losses are functions of (model, x, generator) that
return one number per example, (B,), in nats; they are averaged over the batch here.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vaelib.data import check_batch, check_unit_interval
from vaelib.objectives import gaussian_kl_per_latent, negative_elbo

Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]
RECORD_EVERY = 20  # steps between looks at the loss: each look waits for the device
REFERENCE_INPUTS = 400  # a layer with so many inputs gets just the learning rate
WARM_UP_STEPS = 3  # steps run eagerly before the CUDA graph is captured


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite; the model holds its last good weights."""


@dataclass
class History:
    """What happened during a `fit`: losses in nats per example, over steps.

    train_loss[i] is the mean over the steps up to train_steps[i] since the one before;
    test_loss and kl_per_latent, (Z,) each, belong to test_steps: 0 and each epoch's
    end. snapshots are (step, state_dict). `stopped` is empty unless it ended early.
    """

    train_steps: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    test_steps: list[int] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    kl_per_latent: list[Tensor] = field(default_factory=list)
    snapshots: list[tuple[int, dict]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device to train on: "cpu", "cuda", "mps", or the best there is for "auto".

    Raises ValueError for an unknown device or one that this machine does not have.
    """
    name, available = str(name), ["cpu"]
    if torch.backends.mps.is_available():
        available.append("mps")
    if torch.cuda.is_available():
        available.append("cuda")
    if name == "auto":
        return torch.device(available[-1])
    if name.split(":")[0] not in available:
        raise ValueError(
            f"unknown or absent device {name!r}: this machine has "
            f"{', '.join(available)}; use device='auto'"
        )
    return torch.device(name)


def _checked(values: Tensor, x: Tensor) -> Tensor:
    """What a loss returned for the batch x, if it is one number per example."""
    shape = tuple(getattr(values, "shape", ()))
    if shape != x.shape[:1]:
        raise ValueError(
            f"loss returned shape {shape} for a batch of {len(x)}: return one number "
            "per example, (B,), summed over pixels and latents and not averaged over "
            "the batch"
        )
    return values


def evaluate(
    model: nn.Module,
    data: Tensor,
    loss: Loss = negative_elbo,
    seed: int = 0,
    batch_size: int = 1000,
) -> Tensor:
    """The loss of every example, (N, D) to (N,), in nats, without gradients.

    The noise comes from `seed`, so that two models are compared under the same draws.
    The mean over N estimates the bound; its standard error is .std() / sqrt(N).
    """
    check_batch(data, "data")
    generator = torch.Generator(data.device).manual_seed(seed)
    with torch.no_grad():
        return torch.cat(
            [_checked(loss(model, x, generator), x) for x in data.split(batch_size)]
        )


def mean_kl_per_latent(model: nn.Module, data: Tensor) -> Tensor:
    """KL(q(z_j|x) || N(0, 1)) of each latent j, averaged over data (N, D), to (Z,)."""
    with torch.no_grad():
        return gaussian_kl_per_latent(*model.encode(data)).mean(0)


def _check_data(model: nn.Module, data: Tensor, name: str) -> None:
    check_batch(data, name)
    dtype = next(model.parameters()).dtype
    if data.dtype != dtype:
        raise TypeError(
            f"{name} has dtype {data.dtype} but the model's weights {dtype}: "
            f"use {name}.float(), or model.to({name}.dtype)"
        )
    # The extremes show NaN and infinity too, without a copy of the data.
    if not all(end.isfinite() for end in data.aminmax()):
        raise ValueError(f"{name} contains NaN or infinity: clean it first")
    if getattr(model, "sigma_x", "absent") is None:  # Bernoulli pixels
        check_unit_interval(data, name)


def _check_fit(model, train, test, loss, epochs, batch_size, learning_rate) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__} but must be a model, such as "
            "VariationalAutoEncoder(784); the data come after it"
        )
    _check_data(model, train, "train")
    if test is not None:
        _check_data(model, test, "test")
        if test.shape[1] != train.shape[1]:
            raise ValueError(
                f"train has {train.shape[1]} columns but test has {test.shape[1]}: "
                "both must come from the same kind of data"
            )
    if not callable(loss):
        raise TypeError("loss must be a function of (model, x, generator)")
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs is {epochs!r} but must be a whole number above 0")
    if not isinstance(batch_size, int) or not 1 <= batch_size <= len(train):
        raise ValueError(
            f"batch_size is {batch_size!r} but must be a whole number in "
            f"1..{len(train)}, the number of training examples"
        )
    if not isinstance(learning_rate, float | int) or not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate is {learning_rate!r} but must be a number > 0")


def _notebook_line(text: str):
    """A file for tqdm that shows its last line in a notebook's output, else None."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    if not hasattr(get_ipython(), "kernel"):
        return None
    # Plain text that ends as it began: the stored notebook stays the same from run to
    # run, where tqdm's own widget would leave a stale bar, and stderr a red block.
    handle = display({"text/plain": text}, raw=True, display_id=True)

    class Line:
        def write(self, line):
            shown = line.strip("\r\n ") or text
            handle.update({"text/plain": shown}, raw=True)

        def flush(self):
            pass

    return Line()


def _progress_bar(epochs: int, steps: int, batch_size: int, show: bool) -> tqdm:
    text = f"fit: {epochs} x {steps} steps of {batch_size} examples"
    return tqdm(
        total=epochs * steps,
        disable=not show,
        leave=False,
        file=_notebook_line(text) if show else None,
        bar_format="{l_bar}{bar:30}| {elapsed}<{remaining}{postfix}",
    )


def one_cycle(step: int, steps: int, warm_up: float = 0.1) -> float:
    """The share of the top learning rate at a step: a linear rise, a linear fall to 0.

    (Smith and Topin 2018)
    """
    top = max(1.0, warm_up * steps)
    return min(1.0, (step + 1) / top, (steps - step) / max(1.0, steps - top))


@contextlib.contextmanager
def fast_products():
    """Let matrix products on a GPU round their factors to TF32, which is faster there.

    Sums and weights stay in float32. `fit` takes its steps like this, since their noise
    is far larger than the rounding; it evaluates losses without it.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def parameter_groups(model: nn.Module, learning_rate: float) -> list[dict]:
    """Adam's parameter groups: each Linear's rate falls with the root of its inputs.

    Adam moves every weight equally far in a step, so a layer that reads few numbers,
    such as the decoder's first, moves its output too little. Its rate is multiplied by
    sqrt(REFERENCE_INPUTS / inputs). Other parameters keep `learning_rate`.
    (after Yang et al. 2022, who derive how rates should scale with width)
    """
    groups: dict[int, list] = {REFERENCE_INPUTS: []}
    grouped = set()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            groups.setdefault(layer.in_features, []).extend(layer.parameters())
            grouped.update(map(id, layer.parameters()))
    others = [p for p in model.parameters() if id(p) not in grouped]
    groups[REFERENCE_INPUTS].extend(others)
    return [
        {"params": params, "lr": learning_rate * math.sqrt(REFERENCE_INPUTS / inputs)}
        for inputs, params in groups.items()
        if params
    ]


class _Stepper:
    """Runs optimiser steps on batches of `train`; on a GPU, as one captured graph."""

    def __init__(self, model, loss, train, batch_size, groups, seed):
        device = train.device
        self.model, self.loss, self.train = model, loss, train
        self.graph, self.steps = None, 0
        self.index = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.last = torch.zeros((), device=device)  # the loss of the last step
        self.total = torch.zeros((), device=device)  # summed since the last record
        self.generator = torch.Generator(device).manual_seed(seed)
        self.use_graph = device.type == "cuda"
        if self.use_graph:
            # A captured graph reads its rates from memory, so they must be tensors.
            groups = [g | {"lr": torch.tensor(g["lr"], device=device)} for g in groups]
        self.optimiser = torch.optim.Adam(groups, fused=True, capturable=self.use_graph)

    def _step(self) -> None:
        self.optimiser.zero_grad()
        x = self.train[self.index]
        mean = _checked(self.loss(self.model, x, self.generator), x).mean()
        mean.backward()
        self.optimiser.step()
        self.last.copy_(mean.detach())
        self.total.add_(self.last)

    def _warm_up(self) -> None:
        # Capturing needs a first few steps on a stream of their own.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._step()
        torch.cuda.current_stream().wait_stream(side)

    def _capture(self) -> None:
        self.optimiser.zero_grad()
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.generator)
        with torch.cuda.graph(self.graph):
            self._step()

    @fast_products()
    def __call__(self, index: Tensor) -> None:
        self.index.copy_(index)
        if self.use_graph and self.steps == WARM_UP_STEPS:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
        elif self.use_graph:
            self._warm_up()
        else:
            self._step()
        self.steps += 1


def _copy_weights(model: nn.Module) -> dict:
    # On the model's own device: a copy to the CPU would wait for a GPU.
    return {key: value.clone() for key, value in model.state_dict().items()}


def _likely_cause(model, loss, x, generator, learning_rate) -> str:
    """Why the loss became NaN or infinite, judged on the last good weights."""
    with torch.no_grad():
        if not loss(model, x, generator).isfinite().all():
            return (
                "the loss is not finite even on these weights: look in it for the log "
                "of a number that is not positive (a sigma straight out of a Linear "
                "layer?) or a division by 0"
            )
    return (
        f"the steps are too long: try learning_rate={learning_rate / 10:g} "
        f"instead of {learning_rate:g}"
    )


def _snapshot_steps(count: int, steps: int) -> set[int]:
    # Quadratic spacing: most of the change happens early.
    return {round(steps * (i / max(1, count - 1)) ** 2) for i in range(count)}


class _Run:
    """One call of `fit`: the loop and everything it records."""

    def __init__(
        self, stepper, learning_rate, test, test_loss, bar, on_record, snapshot_steps
    ):
        self.stepper, self.model = stepper, stepper.model
        self.learning_rate = learning_rate
        self.test, self.test_loss, self.bar = test, test_loss, bar
        self.on_record, self.snapshot_steps = on_record, snapshot_steps
        self.history = History()
        self.good_weights = _copy_weights(self.model)

    def snapshot(self) -> None:
        if self.stepper.steps in self.snapshot_steps:
            weights = _copy_weights(self.model)
            weights = {key: value.cpu() for key, value in weights.items()}
            self.history.snapshots.append((self.stepper.steps, weights))

    def record(self, candidate: dict, epoch: int) -> None:
        """Read the loss; `candidate` holds the weights it was computed with."""
        history, stepper = self.history, self.stepper
        since = stepper.steps - (history.train_steps or [0])[-1]
        mean = stepper.total.item() / since
        if not (math.isfinite(mean) and math.isfinite(stepper.last.item())):
            self.diverged(epoch, stepper.loss, stepper.train[stepper.index])
        self.good_weights = candidate
        stepper.total.zero_()
        history.train_steps.append(stepper.steps)
        history.train_loss.append(mean)
        self.bar.set_postfix_str(f"loss {mean:.1f}", refresh=False)
        self.bar.update(since)
        if self.on_record:
            self.on_record(history)

    def record_test(self, epoch: int) -> None:
        """The test loss and KL of the present weights; they must be finite."""
        history = self.history
        data = self.stepper.train[:1000] if self.test is None else self.test
        loss = evaluate(self.model, data, self.test_loss).mean().item()
        if not math.isfinite(loss):
            self.diverged(epoch, self.test_loss, data)
        if self.test is not None:
            history.test_steps.append(self.stepper.steps)
            history.test_loss.append(loss)
            if hasattr(self.model, "log_likelihood"):
                kl = mean_kl_per_latent(self.model, data).cpu()
                history.kl_per_latent.append(kl)
            if self.on_record:
                self.on_record(history)

    def diverged(self, epoch: int, loss, x: Tensor) -> None:
        """Restore the last good weights and say why `loss` failed on `x`."""
        stepper = self.stepper
        self.model.load_state_dict(self.good_weights)
        cause = _likely_cause(
            self.model, loss, x, stepper.generator, self.learning_rate
        )
        raise TrainingDiverged(
            f"the loss became NaN or infinite in epoch {epoch}, by step "
            f"{stepper.steps}; the model holds its last good weights. Likely cause: "
            f"{cause}"
        )

    def epoch(self, number: int, batches: Tensor, scheduler) -> None:
        """One pass over `batches` (steps, B), the shuffled row numbers of train."""
        for i, index in enumerate(batches, start=1):
            looking = i % RECORD_EVERY == 0 or i == len(batches)
            candidate = _copy_weights(self.model) if looking else None
            self.stepper(index)
            scheduler.step()
            if looking:
                self.record(candidate, number)
            self.snapshot()


def fit(
    model: nn.Module,
    train: Tensor,
    test: Tensor | None = None,
    *,
    loss: Loss = negative_elbo,
    test_loss: Loss | None = None,
    epochs: int = 2,
    batch_size: int = 400,
    learning_rate: float = 0.03,
    schedule: bool = True,
    layer_rates: bool = True,
    snapshots: int = 0,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
    on_record: Callable[[History], None] | None = None,
) -> History:
    """Train `model` in place with Adam and return the `History` of it.

    train (N, D) and test (M, D) floats. `loss(model, x, generator)` returns (B,), to be
    minimised; `test_loss` measures the test data, if another measure is wanted there.
    With `schedule` the learning rate follows `one_cycle`, else it stays; with
    `layer_rates` every layer has its own (`parameter_groups`), else all the same.
    `snapshots` weights are kept, more of them early. `on_record(history)` is called
    every 20 steps and after each test. The rows left over by batch_size sit out an
    epoch.

    An interruption (Ctrl-C, or stop in Jupyter) ends the training early and keeps what
    was learned. Raises ValueError or TypeError for bad arguments before any work, and
    TrainingDiverged, with the last good weights restored, if the loss becomes NaN.
    """
    _check_fit(model, train, test, loss, epochs, batch_size, learning_rate)
    target, home = choose_device(device), next(model.parameters()).device
    started = time.perf_counter()
    model.to(target)
    groups = (
        parameter_groups(model, learning_rate)
        if layer_rates
        else [{"params": list(model.parameters()), "lr": learning_rate}]
    )
    stepper = _Stepper(model, loss, train.to(target), batch_size, groups, seed + 1)
    steps = len(train) // batch_size
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        stepper.optimiser,
        lambda step: one_cycle(step, epochs * steps) if schedule else 1.0,
    )
    bar = _progress_bar(epochs, steps, batch_size, progress)
    run = _Run(
        stepper,
        learning_rate,
        None if test is None else test.to(target),
        test_loss or loss,
        bar,
        on_record,
        _snapshot_steps(snapshots, epochs * steps),
    )
    shuffler = torch.Generator().manual_seed(seed)
    epoch = 0
    try:
        run.record_test(epoch)
        run.snapshot()
        for epoch in range(1, epochs + 1):
            rows = torch.randperm(len(train), generator=shuffler)[: steps * batch_size]
            run.epoch(epoch, rows.view(steps, batch_size).to(target), scheduler)
            run.record_test(epoch)
    except KeyboardInterrupt:
        run.history.stopped = (
            f"interrupted in epoch {epoch} of {epochs}, after {stepper.steps} steps"
        )
        warnings.warn(
            f"training was {run.history.stopped}; the model keeps what it learned",
            stacklevel=2,
        )
    finally:
        bar.close()
        model.to(home)
        run.history.seconds = time.perf_counter() - started
    return run.history
