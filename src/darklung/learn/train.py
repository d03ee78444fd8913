"""Training of one network: deterministic, and resumed bit for bit after it was killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from darklung.core.checks import DarklungError, check_positive, check_range, require
from darklung.core.random import derive_seed
from darklung.learn.averaging import taken, updated
from darklung.learn.checkpoint import (
    Earlier,
    Plan,
    State,
    clear_checkpoint,
    lineage,
    load_checkpoint,
    packed,
    save_checkpoint,
    unpacked,
    write_model,
)
from darklung.learn.data import Case, Redraw, check_cases, fit_normalisation
from darklung.learn.device import choose_device, choose_precision, one_thread
from darklung.learn.facts import measure_network
from darklung.learn.network import sizes_of
from darklung.learn.patches import Source
from darklung.learn.predict import apply_network, window_of
from darklung.learn.ranks import Ranks, check_shared, size_here, together
from darklung.learn.running import Run, batch_of, draw_network, make_run, make_sources
from darklung.learn.schedule import patience, rate, validation_steps
from darklung.learn.seams import LEAST_PATCH, MOST_PATCH
from darklung.learn.selection import dice, make_metric, score_with_error
from darklung.learn.settings import BY_DEFAULT, TrainingPart
from darklung.learn.tracking import write_tracking

CHECKPOINT_SECONDS = 20.0
WORK = "a training"

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Work:
    """A training that other processes take part in: rank 0's places of modules, its plan, and its state as `packed`."""

    path: tuple[str, ...]
    plan: Plan
    training: TrainingPart
    state: bytes


@dataclass(frozen=True)
class _Cases:
    """What is learned from and chosen by."""

    given: Sequence[Case]
    validation: Sequence[Case]
    redraw: Redraw | None

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
    training: TrainingPart = BY_DEFAULT,
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
        Voxels along each side; raised to the next length that the network takes. model.json holds what was used.
    batch, steps : int
    learning_rate : float
        Peak of a warm-up and cosine schedule (AdamW).
    normalisation : {"volume", "cohort"}
        Of the channels, as in `Normalisation`.
    network_options, loss_options : mapping, optional
        Further arguments of network and loss, by name.
    training : TrainingPart
        Loss terms, optimizer, schedule, precision, validation and augmentation.
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
    dims = len(cases_train[0].image.shape)
    built = draw_network(network, device, channels=channels, dims=dims, widths=widths, options=network_options, seed=seed)
    sizes = sizes_of(built, widths)
    check_shared(built, batch, size_here())
    held = bool(getattr(built, "float32_on_cpu", False))
    plan = Plan(
        network=network,
        widths=tuple(widths),
        dims=dims,
        loss=loss,
        metric=metric,
        patch=sizes.fit(patch),
        batch=batch,
        steps=steps,
        learning_rate=float(learning_rate),
        seed=int(seed),
        precision=choose_precision(device, training.precision, float32_on_cpu=held),
        normalisation=fit_normalisation(cases=cases_train, channels=channels, per=normalisation),
        subjects_train=tuple(c.subject for c in cases_train),
        subjects_validation=tuple(c.subject for c in cases_validation),
        redraw_every=redraw.every if redraw else 0,
        network_options=dict(network_options or {}),
        loss_options=dict(loss_options or {}),
        training=training.model_dump(mode="json", exclude={"tracking"}),
    )
    with one_thread(), together() as ranks:
        cases = _Cases(cases_train, cases_validation, redraw)
        run = make_run(plan, training, built, sizes, cases_validation, device, ranks)
        cost = _told_cost(run, progress or _silent)
        line = lineage(plan, (*cases.training(0), *cases_validation))
        key = f"{line} {steps} steps"
        state = load_checkpoint(scratch, key, run.modules, run.optimizer, steps=steps) or _started(run, line, earlier)

        def save() -> None:
            save_checkpoint(scratch, key, run.modules, run.optimizer, state)

        ranks.told(WORK, lambda: Work(tuple(sys.path), plan, training, packed(key, run.modules, run.optimizer, state)))
        _train(run, cases.training, state, save, progress or _silent)
    first = cases_train[0].image
    units = {name: first.unit(name) for name in channels}
    write_model(out, plan, state, {"spacing_m": list(first.spacing_m), "units": units, **(facts or {})}, cost)
    write_tracking(training.tracking, out, state.history, asdict(plan))
    clear_checkpoint(scratch)
    if keep_state:
        save_checkpoint(out, line, run.modules, run.optimizer, state)
    return out


def _silent(share: float, text: str) -> None:
    """Progress that nobody watches."""


def share_training(work: Work, ranks: Ranks) -> None:
    """Compute this process's share of a training that rank 0 began.

    Raises
    ------
    DarklungError
        What `train` raises on the way, and a process that is gone.
    """
    sys.path += [place for place in work.path if place not in sys.path]
    plan, device = work.plan, choose_device()
    own: dict[str, Any] = {"dims": plan.dims, "widths": plan.widths, "options": plan.network_options, "seed": plan.seed}
    with one_thread():
        network = draw_network(plan.network, device, channels=plan.normalisation.channels, **own)
        run = make_run(plan, work.training, network, sizes_of(network, plan.widths), (), device, ranks)
        state = unpacked(work.state, run.modules, run.optimizer)
        _train(run, lambda step: (), state, lambda: None, _silent)


def _train(
    run: Run, cases: Callable[[int], Sequence[Case]], state: State, save: Callable[[], None], progress: Progress
) -> None:
    """Bring the state to the plan's steps; `save` keeps it for the case that the process is killed.

    Of several processes rank 0 has the cases, validates and saves.
    """
    plan, ranks = run.plan, run.ranks
    sources: list[Source] = []
    saved_at = time.monotonic()
    while state.step < plan.steps and not state.stopped:
        if not sources or (plan.redraw_every and state.step % plan.redraw_every == 0):
            sources.clear()  # two sets at once may be more than the memory holds
            sources += make_sources(run, ranks.told("cases", partial(cases, state.step)))
        value = _step(run, sources, state)
        state.step += 1
        if state.step in validation_steps(run.training, state.start, state.end):
            _validate(run, state)
            state.stopped = ranks.told("stop", lambda: state.stopped)
        if ranks.first and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            save()
            saved_at = time.monotonic()
        progress(state.step / plan.steps, f"step {state.step}/{plan.steps}, loss {value:.4f}{state.score_text()}")
    if state.best_weights is None and ranks.first:
        with taken(run.network, state.average):
            state.keep(run.network, None)


def _started(run: Run, line: str, earlier: Earlier | None) -> State:
    """The state that an earlier training ended in, to be given more steps; a new one where there is none to go on from."""
    steps = run.plan.steps
    found = load_checkpoint(earlier.folder, line, run.modules, run.optimizer, steps=steps) if earlier else None
    state = found or State()
    state.until(steps, (earlier.key if earlier else "") or line)
    return state


def _told_cost(run: Run, progress: Progress) -> dict[str, Any]:
    """What the network is and costs, told before anything is learned."""
    plan = run.plan
    patch = (plan.patch,) * plan.dims
    channels = len(plan.normalisation.channels)
    found, seconds = measure_network(run.network, run.heads, channels=channels, patch=patch, batch=plan.batch)
    progress(0.0, found.told(seconds))
    return found.as_json()


def _step(run: Run, sources: Sequence[Source], state: State) -> float:
    """One optimizer step; returns the loss."""
    plan, step = run.plan, state.step
    data, truth = batch_of(run, sources, step)
    for group in run.optimizer.param_groups:
        group["lr"] = rate(run.training, plan.learning_rate, step - state.start, state.end - state.start)
    run.network.train()
    run.optimizer.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(plan.seed, "step", step, *run.ranks.name))  # for networks that draw (dropout)
        heads = run.ranks.whole(run.heads(run.ranks.share(data)))
        value, parts = run.objective(heads, truth, step)
        value.backward()
    run.ranks.add_gradients(run.network.parameters())
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), run.training.clip)
    if not (bool(torch.isfinite(value)) and bool(torch.isfinite(norm))):
        raise DarklungError(
            f"training: loss {plan.loss} of {value.item():g} and gradient norm {norm.item():g} at step {step + 1} "
            f"are not both finite; a learning_rate below {plan.learning_rate:g} or another loss may help"
        )
    run.optimizer.step()
    if run.training.averaging:
        state.average = updated(state.average, run.network, decay=run.training.averaging, step=step)
    if run.ranks.first:
        of_terms = {name: float(part) for name, part in parts.items()}
        state.add_loss(float(value.item()), of_terms, run.optimizer.param_groups[0]["lr"])
    return float(value.item())


def _validate(run: Run, state: State) -> None:
    """Score the validation cases, keep the weights if none were clearly better, stop when patience is spent."""
    if not run.validation:
        return
    with taken(run.network, state.average):
        window = window_of(patch=run.plan.patch, dims=run.plan.dims, sizes=run.sizes)
        logits = [
            apply_network(network=run.network, data=data, region=case.region, window=window, overlap=0.0)
            for data, case in run.validation
        ]
        cases = [case for _, case in run.validation]
        given: dict[str, Any] = {
            "logits": logits,
            "targets": [np.where(c.region, c.target, c.lesion) for c in cases],  # beyond the region nothing can be missed
            "regions": [c.counted for c in cases],
            "spacing_m": cases[0].image.spacing_m,
        }
        score, error = score_with_error(metric=make_metric(run.plan.metric), **given)
        told: dict[str, Any] = {"dice": dice(**given)}
        if weights := run.objective.weights():
            told["weights"] = weights
        state.judge(run.network, score, error, patience(run.training, state.end - state.start), told)
