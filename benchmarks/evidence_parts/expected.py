"""What was expected of each study before any of its results was seen, and what makes an expectation borne out or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from darklung.evaluate.statistics import Estimate
from evidence_parts.jobs import OBSERVERS

Term = tuple[int, str, str, str]
"""Sign, run, arm, and the beginning of the names of the animals that count (all: empty)."""


@dataclass(frozen=True)
class Expectation:
    """A sum of signed results that should be above zero, not below, or nothing much.

    Parameters
    ----------
    study, text : str
    metric : str
        A key of `tables.SHOWN`.
    terms : tuple of Term
    wanted : {"above", "not below", "nothing"}
    margin : float
        How far below zero is not below; how far from zero is nothing.
    """

    study: str
    text: str
    metric: str
    terms: tuple[Term, ...]
    wanted: str
    margin: float = 0.0

    def verdict(self, found: Estimate) -> str:
        """Borne out, not, or cannot tell, by the 95 % interval alone."""
        low, high = found.low, found.high
        if not low <= high:  # NaN
            return "cannot tell"
        if self.wanted == "above":
            yes, no = low > 0, high <= 0
        elif self.wanted == "not below":
            yes, no = low >= -self.margin, high < -self.margin
        else:
            yes, no = -self.margin <= low and high <= self.margin, low > self.margin or high < -self.margin
        return "borne out" if yes else "not borne out" if no else "cannot tell"

    def rule(self) -> str:
        """The rule in words."""
        told = {"above": "above 0", "not below": f"not below −{self.margin:g}", "nothing": f"within ±{self.margin:g}"}
        return told[self.wanted]


def row(arm: str, observer: str) -> str:
    """The arm as a comparison calls it."""
    return arm if observer == OBSERVERS[0] else f"{arm}.{observer}"


def _between(run: str, first: str, second: str, animals: str = "") -> tuple[Term, ...]:
    return ((1, run, first, animals), (-1, run, second, animals))


def _four_arm() -> Iterator[Expectation]:
    for setting in ("default", "hard"):
        for mimics in ("kept", "lost"):
            run, told = f"four-arm-{setting}-{mimics}", f"{setting}, mimics' S_V {mimics}"
            yield Expectation(
                "four-arm", f"{told}: attenuation alone finds more than dark field alone", "search",
                _between(run, "transmission", "dark_field"), "above",
            )  # fmt: skip
            yield Expectation(
                "four-arm", f"{told}: hybrid finds more than attenuation alone", "search",
                _between(run, "hybrid", "transmission"), "above",
            )  # fmt: skip
            yield Expectation(
                "four-arm", f"{told}: two directions tell nothing more than their mean", "search",
                _between(run, "directional", "dark_field"), "nothing", 0.05,
            )  # fmt: skip
        terms = tuple(
            (sign, f"four-arm-{setting}-{mimics}", arm, "")
            for mimics, outer in (("kept", 1), ("lost", -1))
            for arm, sign in (("hybrid", outer), ("transmission", -outer))
        )
        yield Expectation(
            "four-arm",
            f"{setting}: hybrid gains more where mimics keep S_V than where they lose it",
            "search",
            terms,
            "above",
        )


def _left_out() -> Iterator[Expectation]:
    for what, names in (("families", ("A", "B", "C")), ("sites", ("default", "south", "west"))):
        for name in names:
            for arm in ("transmission", "dark_field", "hybrid"):
                terms = ((1, f"{what}-all", arm, f"{name}-"), (-1, f"{what}-without-{name}", arm, f"{name}-"))
                yield Expectation(
                    "left-out",
                    f"{what}: {arm} is worse on {name} where {name} was not learned from",
                    "auroc",
                    terms,
                    "above",
                )


def _radiographs() -> Iterator[Expectation]:
    yield Expectation(
        "radiographs", "mice: dark field tells tumours better than attenuation", "auroc",
        _between("mice", "dark_field", "transmission"), "above",
    )  # fmt: skip
    for other in ("dark_field", "transmission"):
        yield Expectation(
            "radiographs", f"mice: hybrid is no worse than {other} alone", "auroc", _between("mice", "hybrid", other),
            "not below", 0.02,
        )  # fmt: skip
    for thickness in (3, 4):
        light, dense = f"lobes-0.18-{thickness}mm", f"lobes-0.39-{thickness}mm"
        for run in (light, f"lobes-0.24-{thickness}mm", dense):
            yield Expectation(
                "radiographs", f"{run}: hybrid is better than dark field alone, which missing lung deceives", "auroc",
                _between(run, "hybrid", "dark_field"), "above",
            )  # fmt: skip
        terms = (*_between(light, "dark_field", "transmission"), *_between(dense, "transmission", "dark_field"))
        yield Expectation(
            "radiographs", f"lobes, {thickness} mm: dark field is less ahead of denser tumours' attenuation", "auroc", terms,
            "above",
        )  # fmt: skip


def _ablations() -> Iterator[Expectation]:
    base = "ablation-base"

    def against(text: str, first: str, second: str, arm: str, wanted: str, margin: float = 0.0) -> Expectation:
        terms = ((1, first, arm, ""), (-1, second, arm, ""))
        return Expectation("ablations", text, "search", terms, wanted, margin)

    yield against("edges off: dark field finds as many", "ablation-edges-off", base, "dark_field", "nothing", 0.05)
    for arm, told in (("dark_field", "dark field"), ("hybrid", "hybrid")):
        yield against(
            f"tube: {told} loses without a hardening correction", "ablation-tube", "ablation-tube-none", arm, "above"
        )
        yield against(f"tube: {told} loses with the wrong spectrum", "ablation-tube", "ablation-tube-wrong", arm, "above")
    for dose in ("third", "threefold"):
        yield against(
            f"dose {dose}: attenuation finds as many (clutter limits)", f"ablation-dose-{dose}", base, "transmission",
            "nothing", 0.05,
        )  # fmt: skip
    yield against("dose a third: dark field finds fewer", base, "ablation-dose-third", "dark_field", "above")
    yield against("V0 30 % against 10 %: dark field finds more", "ablation-v0-30", "ablation-v0-10", "dark_field", "above")
    yield against("ξ 5 µm against 1 µm: dark field finds more", "ablation-xi-5", "ablation-xi-1", "dark_field", "above")
    terms: tuple[Term, ...] = ((1, "control", "noise_channel", ""), (-1, "four-arm-default-kept", "transmission", ""))
    yield Expectation("ablations", "a noise channel in place of dark field gains nothing", "search", terms, "nothing", 0.05)
    yield Expectation(
        "ablations", "dark field as the second channel finds more than noise", "search",
        _between("control", "two_channels", "noise_channel"), "above",
    )  # fmt: skip


def _no_gratings() -> Iterator[Expectation]:
    base: Term = (-1, "four-arm-default-kept", "transmission", "")
    bare: Term = (1, "no-gratings", "attenuation", "")
    yield Expectation(
        "no-gratings", "attenuation without gratings at equal dose is no worse than with them", "search", (bare, base),
        "not below", 0.05,
    )  # fmt: skip
    hybrid: Term = (1, "four-arm-default-kept", "hybrid", "")
    yield Expectation(
        "no-gratings", "hybrid finds more than attenuation without gratings at equal dose", "search",
        (hybrid, (-1, *bare[1:])), "above",
    )  # fmt: skip


EXPECTED = (*_four_arm(), *_left_out(), *_radiographs(), *_ablations(), *_no_gratings())
