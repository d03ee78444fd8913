"""Kernels that numba keeps on disk use nothing of another file: numba looks only whether their own has changed."""

import ast
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src/darklung"


def kernels(tree):
    """Functions that numba compiles."""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return [f for f in functions if any("jit" in ast.unparse(d) or "vectorize" in ast.unparse(d) for d in f.decorator_list)]


def borrowed(text):
    """Names of darklung that the kernels of a module use and that it imports."""
    tree = ast.parse(text)
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and str(n.module).startswith("darklung")]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    return {n.id for kernel in kernels(tree) for n in ast.walk(kernel) if isinstance(n, ast.Name)} & names


def test_no_kernel_uses_what_another_file_has():
    found = {str(path): borrowed(path.read_text()) for path in SOURCES.rglob("*.py") if "jit" in path.read_text()}
    assert len(found) > 10
    assert not {path: names for path, names in found.items() if names}


def test_what_is_borrowed_is_seen():
    start = "from numba import njit\nfrom darklung.core.grid import NEAR, step\n"
    assert borrowed(start + "@njit(cache=True)\ndef run(a):\n    return step(a) + NEAR\n") == {"step", "NEAR"}
    assert not borrowed(start + "@njit(cache=True)\ndef run(a):\n    return a\ndef other():\n    return NEAR\n")
