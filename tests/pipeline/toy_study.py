"""Three parts and their sum, which several tests here share."""

from darklung.pipeline import Task, run_tasks


def toy(tmp_path, until=2, transient=False, **more):
    marks = str(tmp_path / "marks")
    parts = [
        Task("count", f"part-{i}", "toy_stages:count", {"until": until, "marks": marks, **more}, transient=transient)
        for i in range(3)
    ]
    total = Task("total", "all", "toy_stages:add", inputs={"parts": tuple(p.name for p in parts)})
    return [*parts, total]


def run(tasks, folder, workers=1, targets=("total/all",)):
    return run_tasks(tasks, folder=folder, targets=targets, workers=workers, about={"name": "toy"})


def marks(tmp_path):
    path = tmp_path / "marks"
    return path.read_text().splitlines() if path.exists() else []
