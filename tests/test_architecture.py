"""The house's rules, as tests: floors, light import, nothing unpickled."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    **dict.fromkeys(["errors", "files", "images", "modes", "paths", "precision", "progress", "rng", "version"], 0),
    **dict.fromkeys(["data", "models"], 1),
    "samplers": 2,
    **dict.fromkeys(["training", "gaps", "tasks"], 3),
    "runs": 4,
    "report": 5,
    **dict.fromkeys(["cli", "__main__", "__init__"], 6),
}
MODULES = sorted((ROOT / "vaelib").rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "vaelib").parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Return which rooms of the house a module imports, wherever in the file."""
    package = ["vaelib", *path.relative_to(ROOT / "vaelib").parts[:-1]]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = [*base, *(node.module.split(".") if node.module else [])]
            for name in node.names:
                parts = [*full, name.name]
                if parts[0] == "vaelib" and len(parts) > 1:
                    rooms.add(parts[1])
        elif isinstance(node, ast.Import):
            rooms |= {n.name.split(".")[1] for n in node.names if n.name.startswith("vaelib.")}
    return rooms & set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    own = room(path)
    for other in imported_rooms(path) - {own}:
        assert FLOORS[other] <= FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})"


def test_every_room_has_a_floor():
    assert {room(path) for path in MODULES} <= set(FLOORS)
    assert len(MODULES) > 30


def test_import_vaelib_needs_only_the_core_packages():
    code = (
        "import sys, vaelib; heavy = {'diffusers', 'pandas', 'matplotlib', 'distributed', 'torchvision', "
        "'sklearn', 'jupytext', 'papermill', 'yaml', 'typer'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_read_from_disk_is_unpickled():
    allowed = {"vaelib/data/sources.py"}  # CIFAR-10's batches, after their MD5 was checked
    pattern = re.compile(r"pickle\.load|torch\.load|allow_pickle=True|joblib\.load|weights_only=False")
    found = {str(p.relative_to(ROOT)) for p in MODULES if pattern.search(p.read_text())}
    assert found <= allowed


def test_library_files_stay_readable():
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 300}
    assert not long
