"""The house's rules, as tests: floors, light import, nothing unpickled."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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


def hidden_names(name: str) -> set[str]:
    """Return the public names of a package that stand for one of its modules once all of these are imported.

    Importing a module writes its name into the package, over a function of the same name, whenever that happens.
    """
    package = importlib.import_module(name)
    meant = {one for one in getattr(package, "__all__", ()) if not isinstance(getattr(package, one), ModuleType)}
    source = ast.parse(Path(package.__file__).read_text())
    for node in ast.walk(source):  # however the package may look by now
        if isinstance(node, ast.ImportFrom) and node.module:
            meant |= {one.asname or one.name for one in node.names}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "__main__":
            importlib.import_module(f"{name}.{module.name}")
    public = meant & set(getattr(package, "__all__", ()))
    return {one for one in public if isinstance(getattr(package, one), ModuleType)}


PACKAGES = sorted({".".join(path.relative_to(ROOT).parts[:-1]) for path in MODULES})


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_hides_a_public_name_of_its_package(name):
    assert hidden_names(name) == set()


def test_a_module_that_hides_a_function_is_found(tmp_path, monkeypatch):
    package = tmp_path / "hides"
    package.mkdir()
    (package / "__init__.py").write_text("from .other import first, pairs\n__all__ = ['first', 'pairs']\n")
    (package / "other.py").write_text("def first(): ...\ndef pairs(): ...\n")
    (package / "first.py").write_text("")
    (package / "pairs.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert hidden_names("hides") == hidden_names("hides") == {"first", "pairs"}


def test_library_files_stay_readable():
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 300}
    assert not long
