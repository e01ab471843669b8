"""What the source of a notebook may hold: affordable parameters, short cells, no definitions that belong in the library."""

import ast
from pathlib import Path

import jupytext

FIRST = {"profile": "laptop", "dataset": "fashion_mnist"}  # so that Run All is affordable
CELL_LINES, IMPORT_LINES, DEFINITION_LINES = 10, 15, 5


def lint(path: Path) -> list[str]:
    """Return how a notebook breaks the house rules, a line each; empty where it keeps them."""
    path = Path(path)
    notebook = jupytext.read(path)
    wrong = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        wrong.append("its header names no kernel python3")
    if not all(cell.source.strip() for cell in notebook.cells):
        wrong.append("it has an empty cell")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) == 1:
        wrong += _lint_parameters(tagged[0].source)
    else:
        wrong.append(f"it has {len(tagged)} cells tagged parameters, not one")
    for cell in code:
        wrong += _lint_cell(cell.source, count=cell not in tagged)
    return [f"{path.name}: {text}" for text in wrong]


def _lint_parameters(source: str) -> list[str]:
    """Return what is wrong with a parameters cell: plain literals only, opening with profile and dataset."""
    values = {}
    for statement in ast.parse(source).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        try:
            values[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            return [f"its parameters cell holds more than plain literals: {ast.unparse(statement)[:60]!r}"]
    expected = FIRST if "dataset" in values else {"profile": FIRST["profile"]}
    if list(values.items())[: len(expected)] != list(expected.items()):
        opening = ", ".join(f"{name} = {value!r}" for name, value in expected.items())
        return [f"its parameters cell must open with {opening}"]
    return []


def _lint_cell(source: str, count: bool) -> list[str]:
    """Return what is wrong with a code cell: too many lines of code, or a definition that belongs in the library."""
    tree = ast.parse("\n".join("" if line.startswith(("%", "!")) else line for line in source.splitlines()))
    lines = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    imports = any(isinstance(statement, ast.Import | ast.ImportFrom) for statement in tree.body)
    limit = IMPORT_LINES if imports else CELL_LINES
    wrong = []
    if count and len(lines) > limit:
        wrong.append(f"a cell has {len(lines)} lines of code, over {limit}: {lines[0]!r}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            length = node.end_lineno - node.lineno + 1
            if length > DEFINITION_LINES:
                wrong.append(f"{node.name} has {length} lines, over {DEFINITION_LINES}: move it to the library")
    return wrong
