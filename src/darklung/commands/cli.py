"""The commands. No science here: each reads its arguments, calls `study`, and tells what came of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from darklung import __version__
from darklung.commands import files, models
from darklung.commands.benchmark import app as benchmark_app
from darklung.commands.calibrate import app as calibrate_app
from darklung.commands.card import card
from darklung.commands.deposit import deposit
from darklung.commands.detectability import detectability
from darklung.commands.options import Workers, real, whole
from darklung.commands.outcome import Outcome
from darklung.commands.pack import pack
from darklung.commands.recorded import recorded
from darklung.commands.register import register
from darklung.commands.reproduce import reproduce
from darklung.commands.resolution import resolution
from darklung.core.checks import DarklungError, printable, shortened
from darklung.core.extras import EXTRAS, wanting
from darklung.core.files import machine_line
from darklung.core.screen import keep_quiet

INTERRUPTED = 130
PANELS = {
    "Studies and learning": "run train predict evaluate compare",
    "Simulate": "cohort simulate check detectability insert",
    "Process measured data": "import retrieve qc align calibrate reconstruct resolution",
    "Histology": "section stereology register",
    "Publish": "card pack deposit reproduce verify benchmark export",
    "Files and help": "show describe examples keys",
}
EXAMPLES = (
    "Such as: darklung examples --out examples; darklung retrieve examples/raw_scan/scan.yaml --out maps; "
    "darklung run examples/quick.yaml --out runs/quick"
)

app = typer.Typer(
    help="Dark-field X-ray imaging of lungs: simulate, process real raw data, reconstruct, learn, compare, report.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(benchmark_app, name="benchmark")


def _add(*commands: Callable[..., None]) -> None:
    for command in commands:
        app.command()(command)


def _group() -> None:
    """Show each command in the help under what it is for."""
    panels = {name: panel for panel, names in PANELS.items() for name in names.split()}
    for one in app.registered_commands:
        one.rich_help_panel = panels[str(one.name or getattr(one.callback, "__name__", ""))]
    for group in app.registered_groups:
        group.rich_help_panel = panels[str(group.name)]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"darklung {__version__}")
        raise typer.Exit


_outcome = Outcome()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no notes: results and errors alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="With an error, where in the code it was found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Tell the outcome as one JSON object.")] = False,
) -> None:
    """Options before the command."""
    keep_quiet(quiet)
    _outcome.verbose = verbose
    if as_json:
        _outcome.begin()


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="The study file (YAML), such as examples/quick.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME by default.")] = None,
    workers: Workers = None,
    executor: Annotated[str, typer.Option(help="Where tasks are computed: local, or dask (extra cluster).")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="Dask's scheduler, tcp://HOST:PORT or FILE.json.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study and list what would be computed.")] = False,
) -> None:
    """Run a study to its report. What is done already is not computed again, also after a crash."""
    from darklung.commands.run import list_tasks, place_of, run_study

    place = place_of(executor, scheduler)
    if dry_run:
        typer.echo(list_tasks(study, out=out))
        return
    result = run_study(study, out=out, workers=workers, place=place)
    typer.echo(result.table)
    typer.echo(f"\n{result.computed} task(s) computed. Report: {result.report}")


@app.command()
def cohort(
    study: Annotated[Path | None, typer.Argument(help="A study file with a simulated source; all defaults without.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the animals and their tables.")] = Path("cohort"),
    animals: Annotated[str | None, typer.Option(help="Animals, or training,held-out, such as 150,50.")] = None,
    voxel: Annotated[str | None, typer.Option(help="Voxel of the phantoms, such as '300 um'.")] = None,
    seed: Annotated[int | None, whole("Seed of the cohort.", least=0)] = None,
    radiographs: Annotated[bool, typer.Option("--radiographs", help="Simulate a radiograph of each animal.")] = False,
    ct: Annotated[bool, typer.Option("--ct", help="Simulate and reconstruct the study's CT of each animal.")] = False,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study and list what would be made.")] = False,
) -> None:
    """Make a cohort of mice alone: tables with a data dictionary, phantoms and, if wanted, scans of the same animals."""
    from darklung.commands.cohort import make_cohort

    changes = {"animals": animals, "voxel": voxel, "seed": seed}
    options = {"radiographs": radiographs, "ct": ct, "dry_run": dry_run}
    typer.echo(make_cohort(study, out=out, changes=changes, workers=workers, **options))


@app.command("import")
@recorded
def import_(
    description: Annotated[Path, typer.Argument(help="Description of the raw scan (YAML); see examples/real.")],
    out: Annotated[Path, typer.Option(help="A file (.h5, .nxs), or a folder for NAME.h5.")],
    form: Annotated[str, typer.Option("--format", help="hdf5 or nxtomo.")] = "hdf5",
) -> None:
    """Copy raw frames of any layout into one standard file with a description, view by view."""
    from darklung.commands.archive import import_described

    typer.echo(import_described(description, out, form=form))


@app.command()
def retrieve(
    description: Annotated[Path, typer.Argument(help="Description of the raw scan (YAML); see examples/real.")],
    out: Annotated[Path, typer.Option(help="Folder for the maps, the overview and the record.")],
    workers: Workers = None,
) -> None:
    """Turn real raw frames into transmission, phase and dark field with standard errors and validity."""
    from darklung.commands.retrieve import retrieve_described

    typer.echo(retrieve_described(description, out, workers=workers))


@app.command()
@recorded
def qc(
    source: Annotated[Path, typer.Argument(help="Projections or a folder of retrieve, .npz maps, or a raw description.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages and their table.")],
) -> None:
    """Show whether retrieved maps can be trusted: histograms, errors, validity, streaks, residuals; one page a map."""
    from darklung.commands.qc import check_quality

    typer.echo(check_quality(source, out))


@app.command()
@recorded
def align(
    source: Annotated[Path, typer.Argument(help="Projections of a turn (HDF5), as retrieve writes them.")],
    out: Annotated[Path, typer.Option(help="The aligned projections (.h5).")],
    tilt: Annotated[str, typer.Option(help="The detector's turn in its plane: estimate, or '0.3 deg'.")] = "estimate",
    axis: Annotated[str, typer.Option(help="Column of the rotation axis: estimate, or a number.")] = "estimate",
    shifts: Annotated[bool, typer.Option("--shifts", help="Also find by how much the sample moved in each view.")] = False,
    magnification: Annotated[float, real("Relative to the pixel the file states.", least=0.5, most=2.0)] = 1.0,
) -> None:
    """Find rotation axis, tilt and shifts, and resample the projections as an aligned detector would have seen them."""
    from darklung.commands.align import align_file

    typer.echo(align_file(source, out, tilt=tilt, axis=axis, shifts=shifts, magnification=magnification))


@app.command()
def reconstruct(
    source: Annotated[Path, typer.Argument(help="Projections (HDF5), a folder of retrieve, or a raw description (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for the volumes, their pictures and records.")],
    method: Annotated[str, typer.Option(help="fbp, cgls, pwls_tv, tensor, or package.module:function.")] = "fbp",
    options: Annotated[list[str] | None, typer.Option("--set", help="name=value of the method, such as noise=true.")] = None,
    axis: Annotated[str, typer.Option(help="Column of the rotation axis: file, estimate, or a number.")] = "file",
    rings: Annotated[int, whole("Columns over which rings are suppressed, odd, such as 9; 0: no.", least=0)] = 0,
    memory: Annotated[str, typer.Option(help="Most memory; slabs are made to fit.")] = "4 GiB",
    tilt: Annotated[
        str, typer.Option(help="The detector's turn in its own plane, such as '0.3 deg'; else the file's.")
    ] = "",
    source_axis: Annotated[
        str, typer.Option("--source", help="Cone beam: from the source to the axis, such as '300 mm'; else the file's.")
    ] = "",
) -> None:
    """Turn projections into volumes of attenuation and dark field (OME-Zarr), slab by slab."""
    from darklung.commands.reconstruct import reconstruct_files
    from darklung.commands.words import pairs

    given: dict[str, Any] = {"method": method, "axis": axis, "rings": rings, "memory": memory, "options": pairs(options)}
    given |= {name: text for name, text in (("tilt", tilt), ("source_axis", source_axis)) if text}
    typer.echo(reconstruct_files(source, out, given=given, tell=typer.echo))


@app.command()
def insert(
    source: Annotated[Path, typer.Argument(help="Lobes (folder, .npz), .ome.zarr, projections or frames (.h5, .yaml).")],
    out: Annotated[Path, typer.Option(help="Folder for the changed scans, labels, tables and contact sheets.")],
    lesions: Annotated[int | None, whole("Lesions in each copy; 1 by default.")] = None,
    shams: Annotated[int | None, whole("Shams in each copy: the same editing with healthy lung.")] = None,
    mimics: Annotated[int | None, whole("Mimics in each copy.")] = None,
    classes: Annotated[str | None, typer.Option(help="Lesion classes, dealt in turn, such as solid,lepidic.")] = None,
    diameter: Annotated[str | None, typer.Option(help="Smallest and largest, such as '0.5 mm,1.5 mm'.")] = None,
    copies: Annotated[int | None, whole("Copies of each scan, each with its own insertions.")] = None,
    seed: Annotated[int | None, whole("Seed of the insertions.", least=0)] = None,
    region: Annotated[Path | None, typer.Option(help="Where lung is (OME-Zarr, .npy); radiographs need it.")] = None,
    volume: Annotated[Path | None, typer.Option(help="Reconstruction (OME-Zarr) of a CT's projections or frames.")] = None,
    scale: Annotated[str, typer.Option(help="own, a protocol or study file, a ready protocol, calibration.json.")] = "own",
    across_edge: Annotated[bool, typer.Option("--across-edge", help="Put them across the lung region's edge.")] = False,
    options: Annotated[list[str] | None, typer.Option("--set", help="name=value: growth, thickness, blur, ...")] = None,
    read: Annotated[list[str] | None, typer.Option("--read", help="name=value of a foreign volume: axes, grey, ...")] = None,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and list the copies.")] = False,
) -> None:
    """Put synthetic lesions, mimics and shams into real scans: the same one in all channels, with labels and noise."""
    from darklung.commands.insert import insert_files, parse_options
    from darklung.commands.words import pairs

    given = {"lesions": lesions, "shams": shams, "mimics": mimics, "copies": copies, "seed": seed}
    given |= parse_options(options or (), classes=classes, diameter=diameter, across_edge=across_edge or None)
    files: Any = {"region": region, "volume": volume, "scale": scale, "reading": pairs(read, "read")}
    typer.echo(insert_files(source, out, options=given, **files, workers=workers, dry_run=dry_run))


_add(*models.COMMANDS)


@app.command()
@recorded
def check(
    protocol: Annotated[
        str | None,
        typer.Argument(
            help="A protocol file, a study with a simulated source, or a ready protocol such as mission_ct; none: a list."
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="key=first:last:count, such as visibility=0.05:0.3:6; twice: a grid of two keys."),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value: another number of the protocol.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for plan.json and the sweep's table and figure.")] = None,
) -> None:
    """Plan a scan: time, dose, noise, validity and the contrast of a 1 mm lesion, and what would improve it."""
    from darklung.commands.check import check_protocol, list_protocols

    if protocol is None:
        typer.echo(list_protocols())
        return
    typer.echo(check_protocol(protocol, sweep=sweep or (), settings=settings or (), out=out))


@app.command()
@recorded
def simulate(
    protocol: Annotated[str, typer.Argument(help="A protocol or study file, or a ready protocol such as mission_ct.")],
    what: Annotated[str, typer.Argument(help="mouse, cylinder, edge, fibres, foam, star, suspension or wedge.")],
    out: Annotated[Path, typer.Option(help="Folder for the raw frames and their description.")],
    options: Annotated[list[str] | None, typer.Option("--set", help="name=value of the object: diameter='25 mm'.")] = None,
    field: Annotated[str | None, typer.Option(help="Length along z and width, such as '6 mm,27 mm'.")] = None,
    seed: Annotated[int, whole("Seed of the object and of the noise.", least=0)] = 1,
    radiograph: Annotated[bool, typer.Option("--radiograph", help="One view, at a view's dose.")] = False,
    gratings: Annotated[bool, typer.Option(help="Without: attenuation alone, at equal dose.")] = True,
    noise: Annotated[bool, typer.Option(help="Without: expected counts.")] = True,
) -> None:
    """Simulate the raw frames of a mouse or a calibration object in a CT or a radiograph."""
    from darklung.commands.simulate import simulate_files

    how: Any = {"radiograph": radiograph, "gratings": gratings, "noise": noise}
    typer.echo(simulate_files(protocol, what, out=out, options=options or (), field=field, seed=seed, **how))


@app.command()
def section(
    phantom: Annotated[Path, typer.Argument(help="phantom.h5 of a cohort or a study, or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the picture and what is true in it.")],
    name: Annotated[str, typer.Option(help="Of the section.")] = "section",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="name=value: plane, at, tilt, roll, turn, shrinkage, tears, folds, ...")
    ] = None,
) -> None:
    """Cut a synthetic histology section of a simulated mouse: stained, shrunk, folded and torn as asked, and marked."""
    from darklung.commands.section import cut_phantom
    from darklung.commands.words import pairs

    typer.echo(cut_phantom(phantom, out, name=name, given=pairs(options)))


@app.command()
def stereology(
    image: Annotated[Path, typer.Argument(help="A section (TIFF, SVS, NDPI, PNG, JPEG), or a stack of them (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for tables, masks and pages.")],
    pixel: Annotated[str, typer.Option(help="Edge of a pixel, such as '0.5 um'; else the file's.")] = "",
    scale_bar: Annotated[str, typer.Option(help="Length of the bar burnt into the picture, such as '500 um'.")] = "",
    outlines: Annotated[Path | None, typer.Option(help="Drawn outlines (GeoJSON, QuPath).")] = None,
    masks: Annotated[list[str] | None, typer.Option("--mask", help="class=picture, such as airway=airways.png.")] = None,
    shrinkage: Annotated[float, real("By how much of them all lengths shrank, such as 0.15.")] = 0.0,
    options: Annotated[list[str] | None, typer.Option("--set", help="name=value: tile, lines, resolution.")] = None,
    workers: Workers = None,
) -> None:
    """Measure tissue fraction, interface density, intercept and septa of sections by lines and points, with errors."""
    from darklung.commands.stereology import measure_sections
    from darklung.commands.words import pairs

    part = {"pixel": pixel, "scale_bar": scale_bar, "outlines": outlines, "masks": pairs(masks, "mask")}
    measure = {"shrinkage": shrinkage, **pairs(options)}
    typer.echo(measure_sections(image, out, section=part, measure=measure, workers=workers))


_add(card, deposit, detectability, pack, register, reproduce, resolution, *files.COMMANDS)
_group()


def _left_out(error: Exception) -> str:
    """The line of a package that a small install leaves out, should no door have told it; else empty."""
    name = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    return f"this {wanting(name)}" if name in EXTRAS else ""


def main() -> None:
    """Entry point: one clear line and a non-zero exit code for whatever the user can mend, never a traceback."""
    try:
        code, error = _run()
    except BaseException as fault:  # a fault of ours: its traceback follows
        _outcome.end(1, repr(fault))
        raise
    for line in error.splitlines():
        typer.secho(f"darklung: {line}", err=True, fg="red")
    _outcome.end(code, error)
    sys.exit(code)


def _run() -> tuple[int, str]:
    """Exit code and error of the command line."""
    try:
        app()
    except DarklungError as error:
        _outcome.say_where(error)
        return 2, "\n".join(shortened(printable(line)) for line in str(error).splitlines())
    except BrokenPipeError:
        return 1, ""
    except Exception as error:
        line = machine_line(error) or _left_out(error)
        if not line:
            raise
        _outcome.say_where(error)
        return 2, line
    except SystemExit as error:
        if error.code == INTERRUPTED:  # typer has caught the interrupt
            return INTERRUPTED, "stopped; the same command goes on from here"
        return (error.code, "") if isinstance(error.code, int) else (1 if error.code else 0, str(error.code or ""))
    return 0, ""


if __name__ == "__main__":
    main()
