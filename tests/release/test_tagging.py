"""tools/release.py tags what says its version everywhere, and nothing else."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "release.py"
CHANGES = (
    "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-12-01\n\n### Added\n\n- A door.\n\n## 0.1.0 - 2026-11-01\n\n- First.\n"
)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small repository that is ready for 0.2.0, after v0.1.0."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for place, text in {
        "src/darklung/__init__.py": '"""Text."""\n\n__version__ = "0.2.0"\n',
        "CITATION.cff": "cff-version: 1.2.0\nversion: 0.2.0\n",
        "recipe/recipe.yaml": "context:\n  version: 0.2.0\npackage:\n  version: ${{ version }}\n",
        "CHANGELOG.md": CHANGES,
    }.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Ready")
    git(tmp_path, "tag", "v0.1.0")
    return tmp_path


def git(folder, *words):
    own = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def release(folder, *words):
    named = {f"GIT_{who}_{what}": "somebody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = [sys.executable, SCRIPT, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **named})


def test_it_looks_and_tags_only_when_told(checkout):
    looked = release(checkout, "0.2.0")
    assert (looked.returncode, git(checkout, "tag").split()) == (0, ["v0.1.0"])
    assert looked.stdout.startswith("v0.2.0 would be on ")
    assert release(checkout, "0.2.0", "--tag").returncode == 0
    assert git(checkout, "cat-file", "-t", "v0.2.0").strip() == "tag"
    assert git(checkout, "rev-parse", "v0.2.0^{commit}") == git(checkout, "rev-parse", "HEAD")
    told = git(checkout, "tag", "--list", "--format=%(contents)", "v0.2.0")
    assert told.strip() == "darklung 0.2.0\n\n### Added\n\n- A door."


def test_a_release_is_made_once(checkout):
    assert release(checkout, "0.2.0", "--tag").returncode == 0
    again = release(checkout, "0.2.0", "--tag")
    assert (again.returncode, again.stderr) == (1, "version: wanted one after v0.2.0, got 0.2.0\n")


@pytest.mark.parametrize("version", ["v0.2.0", "0.2", "0.2.0rc1", "00.2.0", "0.2.0 ", "0.2.0\n"])
def test_a_version_is_three_numbers(checkout, version):
    done = release(checkout, version)
    assert (done.returncode, done.stderr) == (1, f"version: wanted X.Y.Z, got {version!r}\n")


@pytest.mark.parametrize(
    ("place", "old", "new", "told"),
    [
        ("src/darklung/__init__.py", "0.2.0", "0.1.9", "src/darklung/__init__.py: wanted version 0.2.0, got 0.1.9"),
        ("src/darklung/__init__.py", "__version__", "version", "src/darklung/__init__.py: wanted version 0.2.0, got none"),
        ("CITATION.cff", "\nversion: 0.2.0", "\nversion: 0.1.0", "CITATION.cff: wanted version 0.2.0, got 0.1.0"),
        ("recipe/recipe.yaml", "0.2.0", "0.3.0", "recipe/recipe.yaml: wanted version 0.2.0, got 0.3.0"),
        ("CHANGELOG.md", "2026-12-01", "soon", "CHANGELOG.md: wanted '## 0.2.0 - YYYY-MM-DD', got 'soon' for the day"),
        (
            "CHANGELOG.md",
            "### Added\n\n- A door.\n",
            "",
            "CHANGELOG.md: wanted a section '## 0.2.0 - YYYY-MM-DD' with what changed",
        ),
        ("CHANGELOG.md", "## 0.2.0", "## 0.2.1", "CHANGELOG.md: wanted a section '## 0.2.0 - YYYY-MM-DD' with what changed"),
        (
            "CHANGELOG.md",
            "## Unreleased\n",
            "## Unreleased\n\n- A window.\n",
            "CHANGELOG.md: wanted nothing under Unreleased, which belongs to 0.2.0 now",
        ),
    ],
)
def test_what_does_not_say_the_version_is_told(checkout, place, old, new, told):
    file = checkout / place
    file.write_text(file.read_text().replace(old, new, 1))
    git(checkout, "commit", "-q", "-a", "-m", "Not ready")
    done = release(checkout, "0.2.0", "--tag")
    assert (done.returncode, done.stderr) == (1, told + "\n")
    assert git(checkout, "tag").split() == ["v0.1.0"]


def test_all_is_told_at_once_and_a_changed_tree_too(checkout):
    (checkout / "CITATION.cff").write_text("version: 0.1.0\n")
    (checkout / "CHANGELOG.md").write_text("# Changelog\n")
    lines = release(checkout, "0.2.0").stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["CITATION.cff", "CHANGELOG.md", "CHANGELOG.md"]
    assert lines[-1].endswith("wanted a clean tree, got 2 changed or new files")


def test_this_checkout_says_one_version_in_every_place():
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from darklung import __version__

    assert module.written(ROOT, __version__) == []
