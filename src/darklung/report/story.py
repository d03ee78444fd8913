"""For a reader who knows nothing of the study: what was done and what came out, in plain words; methods; references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.report.blocks import Block, Bullets, Details, Download, Section, Text
from darklung.report.metric_tables import name
from darklung.report.training import KEPT
from darklung.report.verdicts import Comparison, asked, difference, main_split, metric, result, told

CHANNELS = {
    "attenuation": "how much X-ray light is absorbed",
    "dark_field": "how much is scattered by structures too small to see",
}
BOOSTING = "boosting"
BIBTEX = """@software{darklung,
  title = {darklung: directional dark-field X-ray imaging of mouse lungs},
  version = {VERSION},
  note = {Study NAME, seed SEED},
}
@article{HanleyMcNeil1982,
  author = {Hanley, J. A. and McNeil, B. J.},
  title = {The meaning and use of the area under a receiver operating characteristic (ROC) curve},
  journal = {Radiology}, year = {1982}, doi = {10.1148/radiology.143.1.7063747},
}
@article{FieldWelsh2007,
  author = {Field, C. A. and Welsh, A. H.},
  title = {Bootstrapping clustered data},
  journal = {Journal of the Royal Statistical Society B}, year = {2007}, doi = {10.1111/j.1467-9868.2007.00593.x},
}
@article{SahaMillerWang2016,
  author = {Saha, K. K. and Miller, D. and Wang, S.},
  title = {A comparison of some approximate confidence intervals for a single proportion for clustered binary outcome data},
  journal = {The International Journal of Biostatistics}, year = {2016}, doi = {10.1515/ijb-2015-0024},
}
@article{ZouDonner2008,
  author = {Zou, G. Y. and Donner, A.},
  title = {Construction of confidence limits about effect measures: a general approach},
  journal = {Statistics in Medicine}, year = {2008}, doi = {10.1002/sim.3095},
}
"""


def story_section(
    comparison: Comparison,
    study: Mapping[str, Any],
    kinds: Mapping[str, str],
    cohort: Sequence[Mapping[str, Any]],
    *,
    tile_m: float,
) -> Section:
    """First on the page: what was looked at, what an arm and a tile are, what came out.

    Parameters
    ----------
    comparison : mapping
    study : mapping
        Its ``learning`` (``arms``).
    kinds : mapping
        Source -> where it comes from, such as ``"simulation"``.
    cohort : sequence of mappings
        One row an animal or image.
    tile_m : float
    """
    lines = [_looked_at(comparison, kinds, len(cohort)), _arms(study), _tile(tile_m)]
    return Section("In plain words", (Text(" ".join(lines)), Bullets(tuple(_came_out(comparison)), "verdict")))


def _looked_at(comparison: Comparison, kinds: Mapping[str, str], images: int) -> str:
    split = main_split(comparison)
    first = next((result(comparison, split, a).get("n") for a in comparison.get("arms") or ()), None) or {}
    simulated = set(kinds.values()) == {"simulation"}
    made = "simulated on a computer, lungs, tumours and scans alike; nothing was measured" if simulated else _measured(kinds)
    where = "that no network had seen in training" if split == "test" else "of the validation folds"
    return (
        f"{images} images of mouse lungs were {made}. Neural networks learned to find tumours in most of them, and were "
        f"judged on {_n(first.get('subjects'), 'animal')} {where}, with {_n(first.get('positives'), 'tumour')}."
    )


def _measured(kinds: Mapping[str, str]) -> str:
    if set(kinds.values()) == {"lobes"}:
        return "measured as radiographs of excised lobes, into which synthetic tumours were put"
    return "measured, some simulated" if "simulation" in kinds.values() else "measured"


def _n(count: Any, thing: str) -> str:
    return f"an unknown number of {thing}s" if count is None else f"{count} {thing}{'' if count == 1 else 's'}"


def _arms(study: Mapping[str, Any]) -> str:
    arms = (study.get("learning") or {}).get("arms") or {}
    listed = "; ".join(f"{name(arm)}: {', '.join(map(name, channels))}" for arm, channels in arms.items())
    seen = {c for channels in arms.values() for c in channels}
    meant = [f"{name(c)} is {text}" for c, text in CHANNELS.items() if any(s.startswith(c) for s in seen)]
    told = f" ({'; '.join(meant)}; a number behind it is the direction in degrees)" if meant else ""
    trees = ""
    if BOOSTING in ((study.get("learning") or {}).get("observers") or ()):
        trees = f" An arm with .{BOOSTING} behind its name was looked at by boosted decision trees, not by a neural network."
    return f"An arm is the same animals seen through some of the image's channels only ({listed}){told}.{trees}"


def _tile(tile_m: float) -> str:
    return (
        f"The lung is cut into tiles of {1e3 * tile_m:g} mm: each tumour makes one tile positive, and a network is right if "
        "it gives that tile a higher score than tiles without. AUROC is how often it does: 0.5 by chance, 1 at best."
    )


def _came_out(comparison: Comparison) -> list[str]:
    split = main_split(comparison)
    if split is None:
        return ["There are no results."]
    lines = []
    for a, b in asked(comparison, split):
        row = difference(comparison, split, a, b)
        found = [metric(comparison, split, arm, "equal_sensitivity").get("value") for arm in (a, b)]
        answer = told(row) if row else "no difference was computed"
        shares = _found(found[0], found[1])
        lines.append(f"Does {name(a)} find more than {name(b)}? {answer[:1].upper()}{answer[1:]}.{shares}")
    return lines or ["One arm: nothing was compared."]


def _found(first: float | None, second: float | None) -> str:
    if first is None or second is None:
        return ""
    return f" At equal specificity {100 * first:.0f} % of the tumours are found against {100 * second:.0f} %."


def methods_section(
    comparison: Comparison, study: Mapping[str, Any], *, version: str, study_file: str, tile_m: float
) -> Section:
    """A paragraph for a paper, the study file, and references."""
    settings = comparison.get("settings") or {}
    learning = study.get("learning") or {}
    judged = f"The lung was cut into tiles of {1e3 * tile_m:g} mm. {_threshold(settings)}"
    blocks: tuple[Block, ...] = (
        Text(f"{_trained(learning)} {judged} {_statistics(settings)} Computed with darklung {version}."),
        Download("Study file (YAML): run it again with darklung run", "study.yaml", study_file, "text/yaml"),
        Download("References (BibTeX)", "references.bib", _references(study, version), "text/x-bibtex"),
        Details("Study file", tuple(Text(line, "code") for line in study_file.splitlines())),
    )
    return Section("Methods", blocks, "For a paper, and to run it again.")


def _threshold(settings: Mapping[str, Any]) -> str:
    """Where a tile begins to be called."""
    origin = str(settings.get("threshold_from") or "validation")
    if origin.startswith("none"):
        reason = origin.partition(": ")[2] or "there were no validation animals"
        scale = f" Tests have {settings['scale']}." if settings.get("scale") else ""
        return f"No threshold and no probability of a tile were fixed: {reason}.{scale}"
    specificity = settings.get("specificity")
    share = "the validated" if specificity is None else f"{100 * float(specificity):g} %"
    return (
        f"The threshold of {share} specificity and a logistic curve from score to probability were fixed on validation "
        f"animals ({settings.get('scale', 'pooled over folds')}) and applied unchanged to test animals."
    )


def _trained(learning: Mapping[str, Any]) -> str:
    """Who learned from each arm and fold, and which of their states was kept."""
    observers, made = learning.get("observers") or ("network",), []
    if "network" in observers:
        steps, loss = learning.get("steps", "some"), name(learning.get("loss", ""))
        kind = name(learning.get("network", "network"))
        made.append(f"one network ({kind}) was trained for at most {steps} steps with the loss {loss}")
    if BOOSTING in observers:
        made.append("boosted decision trees were grown on filtered channels")
    folds, score = learning.get("folds", "several"), name(learning.get("metric", "score"))
    return f"For each arm and each of {folds} folds of animals {', and '.join(made)}; kept was {KEPT} ({score})."


def _statistics(settings: Mapping[str, Any]) -> str:
    return (
        f"Intervals resample animals ({settings.get('replicates', 'many')} replicates) and, where a threshold matters, "
        "validation animals too; those of shares are Wilson's at the effective number of units. Planned questions are "
        "decided by the difference of AUROC, with p from swapping the arms in whole animals, corrected by Holm."
    )


def _references(study: Mapping[str, Any], version: str) -> str:
    known = {"VERSION": version, "NAME": str(study.get("name", "")), "SEED": str(study.get("seed", ""))}
    text = BIBTEX
    for word, value in known.items():
        text = text.replace(word, value)
    return text
