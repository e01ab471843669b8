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
# Lowest first. A room may import those below its floor: not its own floor's, and none above.
FLOORS = [
    {"errors", "version"},
    {"files", "modes", "precision", "rng", "text"},
    {"images", "paths", "progress"},
    {"models"},
    {"data", "samplers"},
    {"training", "gaps"},
    {"tasks", "scoring"},
    {"runs"},
    {"notebooks", "report", "planning", "subject", "doctor"},
    {"studies"},
    {"results"},
    {"site"},
    {"cli"},
    {"__main__", "__init__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted((ROOT / "vaelib").rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "vaelib").parts[0].removesuffix(".py")


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


BY_NAME = {module(path): path for path in MODULES}


def imports(path: Path, whole: bool = True) -> set[str]:
    """Return the modules of the house that a module imports, wherever in the file or (not ``whole``) at its top alone."""
    package = ["vaelib", *path.relative_to(ROOT / "vaelib").parts[:-1]]
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if whole else tree.body:
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found |= {one if (one := f"{full}.{name.name}") in BY_NAME else full for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & set(BY_NAME)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a chain of imports that ends where it begins, or an empty list."""
    done: set[str] = set()

    def visit(name: str, chain: list[str]) -> list[str]:
        if name in chain:
            return [*chain[chain.index(name) :], name]
        for other in sorted(graph.get(name, ())) if name not in done else ():
            if found := visit(other, [*chain, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (visit(name, []) for name in sorted(graph))), [])


def test_imports_go_down_only():
    wrong = []
    for path in MODULES:
        rooms = {BY_NAME[name] for name in imports(path)}
        for other in {room(one) for one in rooms} - {room(path), "__init__"}:
            if FLOOR[other] >= FLOOR[room(path)]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert wrong == []


def test_there_are_no_circles_of_modules_or_of_studies():
    graph = {module(path): imports(path, whole=False) for path in MODULES}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle(graph) == []
    studies: dict[str, set[str]] = {}
    for name, others in graph.items():
        if name.startswith("vaelib.studies.") and name.count(".") > 2:
            own = name.split(".")[2]
            studies.setdefault(own, set()).update(o.split(".")[2] for o in others if o.startswith("vaelib.studies."))
            studies[own].discard(own)
    assert len(studies) >= 9
    assert circle(studies) == []


def test_every_room_has_a_floor():
    assert {room(path) for path in MODULES} == set(FLOOR)


def test_workers_import_neither_matplotlib_nor_the_frame_that_shows():
    """They unpickle settings, so they import the modules of these and of what makes them."""
    stages = [f"vaelib.studies.{path.parent.name}.stages" for path in ROOT.glob("vaelib/studies/*/stages.py")]
    assert len(stages) > 9
    code = (
        f"import sys; import vaelib.runs.worker, {', '.join(stages)}; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'matplotlib' or m.startswith('vaelib.report')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


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


def drawn() -> list[str]:
    """Return the arrows between rooms that no others imply, as lines of a drawing."""
    rooms: dict[str, set[str]] = {}
    for path in MODULES:
        if room(path) not in ("__main__", "__init__"):
            others = {room(BY_NAME[name]) for name in imports(path)} - {room(path), "__init__"}
            rooms.setdefault(room(path), set()).update(others)

    def below(one: str) -> set[str]:
        return set().union(*({other} | below(other) for other in rooms[one]))

    return [
        f"    {one} --> {other}"
        for floor in reversed(FLOORS)
        for one in sorted(floor & set(rooms))
        for other in sorted(rooms[one])
        if not any(other in below(between) for between in rooms[one] - {other})
    ]


def test_the_drawing_is_that_of_the_code():
    text = (ROOT / "docs/architecture.md").read_text()
    (shown,) = re.findall(r"```mermaid\ngraph TD\n(.*?)```", text, re.DOTALL)
    assert shown.splitlines() == drawn()
    named = re.findall(r"`(vaelib/[\w/.]+)`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


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
