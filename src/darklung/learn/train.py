"""Training of one network: deterministic, and resumed bit for bit after it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from darklung.core.checks import DarklungError, check_positive, check_range, require
from darklung.core.random import derive_seed, stream
from darklung.learn.checkpoint import (
    Earlier,
    Plan,
    State,
    clear_checkpoint,
    lineage,
    load_checkpoint,
    save_checkpoint,
    write_model,
)
from darklung.learn.data import Case, Redraw, check_cases, fit_normalisation
from darklung.learn.device import choose_device, choose_precision, one_thread, place
from darklung.learn.losses import Loss, make_loss
from darklung.learn.network import make_network
from darklung.learn.patches import Source, draw_batch, make_source
from darklung.learn.predict import apply_network, window_of
from darklung.learn.seams import LEAST_PATCH, MOST_PATCH, size_multiple
from darklung.learn.selection import make_metric, score_with_error

# How often the validation cases are scored (each costs as much as about 20 steps): every so many steps, within these bounds.
STEPS_A_VALIDATION = 100
VALIDATIONS = (4, 20)
FIRST_VALIDATION = 0.4  # share of the steps before the first
CHECKPOINT_SECONDS = 20.0
WARM_UP = 0.1  # share of the steps (of those that are added) over which the learning rate rises
GRADIENT_LIMIT = 5.0
WEIGHT_DECAY = 1e-4

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class _Run:
    """What stays the same during one training."""

    plan: Plan
    validation: list[tuple[NDArray[np.float32], Case]]
    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    device: torch.device


@dataclass(frozen=True)
class _Cases:
    """What is learned from and chosen by."""

    given: Sequence[Case]
    validation: Sequence[Case]
    redraw: Redraw | None

    def changes(self, step: int) -> bool:
        """Whether other training cases begin at `step`."""
        return self.redraw is not None and step % self.redraw.every == 0

    def training(self, step: int) -> Sequence[Case]:
        """The training cases of `step`; drawn ones keep the subjects of the ones given."""
        if self.redraw is None:
            return self.given
        cases = self.redraw.cases(step - step % self.redraw.every)
        same = [c.subject for c in cases] == [c.subject for c in self.given]
        require(same, "redraw: wanted cases of the subjects of cases_train, in their order")
        check_cases(cases, self.validation)
        return cases


def train(
    *,
    cases_train: Sequence[Case],
    cases_validation: Sequence[Case],
    channels: Sequence[str],
    seed: int,
    scratch: Path,
    out: Path,
    redraw: Redraw | None = None,
    network: str = "residual_attention_unet",
    widths: Sequence[int] = (16, 32, 48),
    loss: str = "dice_focal_boundary",
    metric: str = "tile_auroc",
    patch: int = 16,
    batch: int = 4,
    steps: int = 300,
    learning_rate: float = 4e-3,
    normalisation: str = "volume",
    network_options: Mapping[str, Any] | None = None,
    loss_options: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    earlier: Earlier | None = None,
    keep_state: bool = True,
) -> Path:
    """Train one network on patches and keep the latest state that scores well on the validation cases.

    Well means within one standard error of the best.

    Every random draw is a function of (seed, step), and on a CPU one thread computes, so a training that was killed goes on
    from its last checkpoint to exactly the weights of an undisturbed one. On a GPU sums may run in any order.

    Parameters
    ----------
    cases_train, cases_validation : sequences of Case
        2-D or 3-D, no subject in both.
    channels : sequence of str
        Channels that the network sees (the arm), in this order.
    seed : int
    scratch : Path
        Folder for the checkpoint; emptied of it at the end.
    out : Path
        Folder for ``model.safetensors``, ``model.json`` and ``metrics.jsonl``.
    redraw : Redraw, optional
        Cases that take the place of `cases_train` in turn, such as the same animals with other insertions. Normalisation
        and everything about validation stay those of the cases given.
    network, loss, metric : str
        Short names (`NETWORKS`, `LOSSES`, `METRICS`) or ``package.module:function``.
    widths : sequence of int
        Channels of each resolution level.
    patch : int
        Voxels along each side; raised to the next multiple of ``2 ** (levels − 1)``. model.json holds what was used.
    batch, steps : int
    learning_rate : float
        Peak of a warm-up and cosine schedule (AdamW).
    normalisation : {"volume", "cohort"}
        Of the channels, as in `Normalisation`.
    network_options, loss_options : mapping, optional
        Further arguments of network and loss, by name.
    facts : mapping, optional
        JSON values that model.json keeps, such as the energy that the training images refer to.
    progress : callable, optional
        Called with the share done and a line of text.
    earlier : Earlier, optional
        A finished training to go on from, if it kept its state and is the same but for fewer steps: the learning rate rises
        and falls once more over the steps that are added (a warm restart, Loshchilov and Hutter 2017, arXiv:1608.03983), and
        validation, best weights and the draws of patches go on where they were. Otherwise the training starts anew.
    keep_state : bool
        Leave ``checkpoint.pt`` in `out`, about four times the model's size, so that the training can be gone on with.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    DarklungError
        Cases that do not fit each other, a subject on both sides, no lesion to learn from, or a loss that is not finite.
    """
    check_range("steps", steps, 1, 10_000_000)
    check_range("batch", batch, 1, 4096)
    check_range("patch", patch, LEAST_PATCH, MOST_PATCH)
    check_positive("learning_rate", learning_rate)
    check_cases(cases_train, cases_validation)
    device = choose_device()
    multiple = size_multiple(widths)
    plan = Plan(
        network=network,
        widths=tuple(widths),
        dims=len(cases_train[0].image.shape),
        loss=loss,
        metric=metric,
        patch=-(-patch // multiple) * multiple,
        batch=batch,
        steps=steps,
        learning_rate=float(learning_rate),
        seed=int(seed),
        precision=choose_precision(device),
        normalisation=fit_normalisation(cases=cases_train, channels=channels, per=normalisation),
        subjects_train=tuple(c.subject for c in cases_train),
        subjects_validation=tuple(c.subject for c in cases_validation),
        redraw_every=redraw.every if redraw else 0,
        network_options=dict(network_options or {}),
        loss_options=dict(loss_options or {}),
    )
    with one_thread():
        cases = _Cases(cases_train, cases_validation, redraw)
        run = _make_run(plan, cases_validation)
        line = lineage(plan, (*cases.training(0), *cases_validation))
        key = f"{line} {steps} steps"
        state = load_checkpoint(scratch, key, run.network, run.optimizer, steps=steps) or _started(run, line, earlier)

        def save() -> None:
            save_checkpoint(scratch, key, run.network, run.optimizer, state)

        _train(run, cases, state, save, progress or _silent)
    first = cases_train[0].image
    units = {name: first.unit(name) for name in channels}
    write_model(out, plan, state, {"spacing_m": list(first.spacing_m), "units": units, **(facts or {})})
    clear_checkpoint(scratch)
    if keep_state:
        save_checkpoint(out, line, run.network, run.optimizer, state)
    return out


def _silent(share: float, text: str) -> None:
    """Progress that nobody watches."""


def _train(run: _Run, cases: _Cases, state: State, save: Callable[[], None], progress: Progress) -> None:
    """Bring the state to the plan's steps; `save` keeps it for the case that the process is killed."""
    plan = run.plan
    sources: list[Source] = []
    saved_at = time.monotonic()
    while state.step < plan.steps and not state.stopped:
        if not sources or cases.changes(state.step):
            sources.clear()  # two sets at once may be more than the memory holds
            sources += _make_sources(plan, cases.training(state.step))
        value = _step(run, sources, state)
        state.step += 1
        state.add_loss(value)
        if state.step in _validation_steps(state.start, state.end):
            _validate(run, state)
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            save()
            saved_at = time.monotonic()
        progress(state.step / plan.steps, f"step {state.step}/{plan.steps}, loss {value:.4f}{state.score_text()}")
    if state.best_weights is None:
        state.keep(run.network, None)


def _started(run: _Run, line: str, earlier: Earlier | None) -> State:
    """The state that an earlier training ended in, to be given more steps; a new one where there is none to go on from."""
    steps = run.plan.steps
    found = load_checkpoint(earlier.folder, line, run.network, run.optimizer, steps=steps) if earlier else None
    state = found or State()
    state.until(steps, (earlier.key if earlier else "") or line)
    return state


def _make_run(plan: Plan, validation_cases: Sequence[Case]) -> _Run:
    device = choose_device()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(plan.seed, "weights"))
        network = make_network(
            plan.network,
            channels=len(plan.normalisation.channels),
            dims=plan.dims,
            widths=plan.widths,
            options=plan.network_options,
        )
    place(network, device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=WEIGHT_DECAY)
    validation = [(plan.normalisation.apply(c), c) for c in validation_cases]
    return _Run(plan, validation, network, optimizer, make_loss(plan.loss, plan.loss_options), device)


def _make_sources(plan: Plan, cases: Sequence[Case]) -> list[Source]:
    patch = (plan.patch,) * plan.dims
    return [make_source(case=c, normalisation=plan.normalisation, patch=patch) for c in cases]


def _rate(plan: Plan, state: State) -> float:
    """Learning rate of the next step: linear warm-up, then half a cosine down to zero, from `start` to `end`."""
    step, steps = state.step - state.start, state.end - state.start
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return plan.learning_rate * (step + 1) / warm
    return float(plan.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm))))


def _step(run: _Run, sources: Sequence[Source], state: State) -> float:
    """One optimizer step; returns the loss."""
    plan, step = run.plan, state.step
    rng = stream(plan.seed, "patches", step)
    cut = draw_batch(sources=sources, patch=(plan.patch,) * plan.dims, batch=plan.batch, rng=rng)
    data, target, distance, region = (
        torch.from_numpy(np.ascontiguousarray(a)).to(run.device) for a in (cut.data, cut.target, cut.distance, cut.region)
    )
    for group in run.optimizer.param_groups:
        group["lr"] = _rate(plan, state)
    run.network.train()
    run.optimizer.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(plan.seed, "step", step))  # for networks that draw (dropout)
        value = _loss(run, data, target, distance, region)
        value.backward()
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), GRADIENT_LIMIT)
    if not (bool(torch.isfinite(value)) and bool(torch.isfinite(norm))):
        raise DarklungError(
            f"training: loss {plan.loss} of {value.item():g} and gradient norm {norm.item():g} at step {step + 1} "
            f"are not both finite; a learning_rate below {plan.learning_rate:g} or another loss may help"
        )
    run.optimizer.step()
    return float(value.item())


def _loss(run: _Run, data: Tensor, target: Tensor, distance: Tensor, region: Tensor) -> Tensor:
    half = run.plan.precision == "bfloat16"
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=half):
        logits = run.network(data)
    return run.loss(logits.float(), target, distance, region)


def _validation_steps(start: int, end: int) -> set[int]:
    shares = np.linspace(FIRST_VALIDATION, 1.0, _validations(end - start))
    return {start + max(1, round(float(s) * (end - start))) for s in shares}


def _validations(steps: int) -> int:
    return int(np.clip(steps // STEPS_A_VALIDATION, *VALIDATIONS))


def _validate(run: _Run, state: State) -> None:
    """Score the validation cases, keep the weights if none were clearly better, stop when patience is spent."""
    if not run.validation:
        return
    window = window_of(patch=run.plan.patch, dims=run.plan.dims, widths=run.plan.widths)
    logits = [
        apply_network(network=run.network, data=data, region=case.region, window=window, overlap=0.0)
        for data, case in run.validation
    ]
    cases = [case for _, case in run.validation]
    score, error = score_with_error(
        metric=make_metric(run.plan.metric),
        logits=logits,
        targets=[np.where(c.region, c.target, c.lesion) for c in cases],  # beyond the region nothing can be missed
        regions=[c.counted for c in cases],
        spacing_m=cases[0].image.spacing_m,
    )
    # The rate falls to zero at the end, which helps much: stopping is for trainings that got worse for half of their time.
    state.judge(run.network, score, error, max(3, _validations(state.end - state.start) // 2))
