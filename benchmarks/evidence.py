"""The evidence studies: what darklung's simulations say of dark-field imaging of mouse lungs, each study by one command.

    python benchmarks/evidence.py plan [--out FOLDER]
    python benchmarks/evidence.py run four-arm left-out --out FOLDER [--hours 2] [--workers 2] [--trial]
    python benchmarks/evidence.py report --out FOLDER [--page docs/evidence.md]

Studies: four-arm (CT, two settings, two assumptions about mimics), left-out (families, scanners), radiographs (mice, lobes),
ablations, no-gratings; all if none is named. `run` keeps what is done: it ends at a task's border after `--hours`, and goes
on the next time. Studies share animals and scans. `plan` tells what would be computed, what is less than wished, what it
costs and what is expected; `report` writes a page of what is there, with a verdict on each expectation. `--trial` makes all
of it tiny, to see that it works: its numbers say nothing, and no page in docs is made of them. Keep FOLDER outside the
checkout.
"""

import argparse
import sys
from pathlib import Path

from evidence_parts.jobs import JOBS, STUDIES, run_job, with_data
from evidence_parts.limits import OutOfTime, Stop
from evidence_parts.page import page
from evidence_parts.plan import plan

DOCS = Path(__file__).parents[1] / "docs"
TRIAL = "trial"  # a file that marks a folder of tiny studies


def run(given: argparse.Namespace) -> None:
    """The named studies, job by job."""
    mark = given.out / TRIAL
    given.out.mkdir(parents=True, exist_ok=True)
    if (given.out / "runs").exists() and given.trial != mark.exists():
        sys.exit(f"{given.out}: wanted a folder of its own for a trial")
    if given.trial:
        mark.touch()
    stop = Stop.after(given.hours, given.workers)
    try:
        for name in (job.name for study in given.studies or STUDIES for job in STUDIES[study]):
            if not with_data(JOBS[name]):
                print(f"{name}: its measured data are not there; left out", flush=True)
                continue
            print(f"{name}", flush=True)
            run_job(name, given.out, stop, trial=given.trial)
    except OutOfTime:
        print(f"{given.hours:g} hours are over; the same command goes on")


def report(given: argparse.Namespace) -> None:
    """The page of what is there."""
    trial = (given.out / TRIAL).exists()
    if trial and given.page is not None and DOCS in given.page.resolve().parents:
        sys.exit(f"{given.page}: {given.out} holds a trial, whose numbers are for no page of docs")
    text = page(given.out, trial=trial)
    if given.page is None:
        print(text)
    else:
        given.page.write_text(text)


def main() -> None:
    """Read the command line."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = read.add_subparsers(dest="command", required=True)
    planned = commands.add_parser("plan", help="what is computed, its cost, what is reduced, what is expected")
    ran = commands.add_parser("run", help="compute what is not there yet")
    told = commands.add_parser("report", help="the page of what is there")
    ran.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}; all by default")
    ran.add_argument("--hours", type=float, help="no task begins after so many")
    ran.add_argument("--workers", type=int)
    ran.add_argument("--trial", action="store_true", help="a few animals and steps")
    for one in (ran, told):
        one.add_argument("--out", type=Path, required=True)
    told.add_argument("--page", type=Path, help="Markdown file; printed if not given")
    planned.add_argument("--out", type=Path, help="a folder whose records tell what tasks took")
    given = read.parse_args()
    if unknown := [s for s in getattr(given, "studies", ()) if s not in STUDIES]:
        read.error(f"{', '.join(unknown)}: no such study; wanted some of {', '.join(STUDIES)}")
    if given.command == "plan":
        print(plan(given.out))
    else:
        {"run": run, "report": report}[given.command](given)


if __name__ == "__main__":
    main()
