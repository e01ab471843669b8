"""Notebooks: pairs in step, house rules, and a runner that is strict and leaves all or nothing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from tests.notebook_rules import lint
from vaelib import paths
from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.notebooks.execution import read_parameters, run
from vaelib.notebooks.pairs import clean_text, copies, sync
from vaelib.site.rendering import to_html

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

"""
PARAMETERS = '# %% tags=["parameters"]\nprofile = "laptop"  # budget\ndataset = "fashion_mnist"\nepochs: int = 3\n\n'
# Kernels and their event loops warn about sockets and loops of their own making.
kernel = pytest.mark.filterwarnings("default")


def notebook(folder, body, parameters=PARAMETERS, header=HEADER, name="01_x.py"):
    path = folder / name
    path.write_text(header + parameters + body)
    return path


def test_pairs_are_in_step_and_keep_the_rules():
    assert sync(check=True) == []
    assert [line for path in NOTEBOOKS for line in lint(path)] == []


def test_sync_writes_one_way_the_same_bytes(tmp_path):
    source = notebook(tmp_path, "# %%\nprint(1)\n\n# %%\nprint(1)\n")
    assert sync(check=True, folder=tmp_path) == ["01_x.ipynb"]
    assert not (tmp_path / "01_x.ipynb").exists()
    assert sync(folder=tmp_path) == ["01_x.ipynb"]
    first = (tmp_path / "01_x.ipynb").read_bytes()
    assert sync(check=True, folder=tmp_path) == []
    (tmp_path / "01_x.ipynb").unlink()
    sync(folder=tmp_path)
    assert (tmp_path / "01_x.ipynb").read_bytes() == first == clean_text(source).encode()
    cells = nbformat.reads(first.decode(), 4).cells
    assert len({cell.id for cell in cells}) == len(cells) == 3  # two equal cells, two ids
    source.write_text(source.read_text() + "\n# %%\nprint(2)\n")
    assert sync(check=True, folder=tmp_path) == ["01_x.ipynb"]


def run_and_saved(pair):
    """Do to a notebook what Run All and a save in JupyterLab do: outputs, counts, metadata, an empty cell at the end."""
    found = nbformat.read(pair, 4)
    for number, cell in enumerate(found.cells):
        cell.metadata |= {"trusted": True, "execution": {"iopub.status.busy": "2026-01-01"}, "scrolled": False}
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = number, [nbformat.v4.new_output("stream", text="1\n")]
    found.metadata |= {"language_info": {"name": "python", "version": "3.12.1"}, "widgets": {"state": {}}}
    found.cells.append(nbformat.v4.new_code_cell(""))
    nbformat.write(found, pair)


def edited(pair, how):
    """Change a notebook as a person would, keeping the ids as JupyterLab does."""
    if how == "a merge's conflict":
        return pair.write_text("<<<<<<< HEAD\n" + pair.read_text())
    found = nbformat.read(pair, 4)
    if how == "text":
        found.cells[1].source += "  # mine"
    elif how == "new cell":
        found.cells.insert(1, nbformat.v4.new_code_cell("mine = 1"))
    elif how == "cell gone":
        del found.cells[1]
    elif how == "tag":
        found.cells[1].metadata["tags"] = ["interactive"]
    return nbformat.write(found, pair)


EDITS = ["text", "new cell", "cell gone", "tag", "a merge's conflict"]


def in_step(folder):
    """Return a notebook and its pair, the .py an hour old."""
    source = notebook(folder, "# %%\nprint(1)\n\n# %%\nprint(2)\n")
    os.utime(source, (source.stat().st_atime, source.stat().st_mtime - 3600))
    sync(folder=folder)
    return source, source.with_suffix(".ipynb")


def test_run_all_and_save_leave_a_pair_in_step(tmp_path, capsys):
    source, pair = in_step(tmp_path)
    clean = pair.read_bytes()
    run_and_saved(pair)
    assert pair.read_bytes() != clean
    assert sync(check=True, folder=tmp_path) == []
    assert sync(folder=tmp_path) == ["01_x.ipynb"]  # clean again
    assert pair.read_bytes() == clean
    source.write_text(source.read_text() + "\n# %%\nprint(3)\n")  # an edit in the .py alone is what sync is for
    assert sync(folder=tmp_path) == ["01_x.ipynb"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["01_x.ipynb", "01_x.py"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", EDITS)
def test_sync_keeps_an_edit_of_the_ipynb_alone(tmp_path, capsys, how):
    _, pair = in_step(tmp_path)
    for copy in ("01_x.edited.ipynb", "01_x.edited-2.ipynb"):
        run_and_saved(pair)
        edited(pair, how)
        mine = pair.read_bytes()
        assert sync(check=True, folder=tmp_path) == ["01_x.ipynb"]
        assert sync(folder=tmp_path) == ["01_x.ipynb"]
        assert f"01_x.ipynb had an edit that 01_x.py has not: kept as {copy}" in capsys.readouterr().err
        assert (tmp_path / copy).read_bytes() == mine
    assert sync(folder=tmp_path) == []


def test_copies_are_ignored_by_git():
    assert re.search(r"^/notebooks/\*\.edited\*\.ipynb$", (ROOT / ".gitignore").read_text(), re.MULTILINE)


@kernel
def test_run_says_that_an_edit_of_the_ipynb_alone_does_not_run(tmp_path, capsys):
    _, pair = in_step(tmp_path)
    run_and_saved(pair)
    run(tmp_path / "01_x.py", tmp_path / "out.ipynb", {}, log=False)
    assert "edit" not in capsys.readouterr().err
    edited(pair, "text")
    run(tmp_path / "01_x.py", tmp_path / "out.ipynb", {}, log=False)
    assert "01_x.ipynb has an edit that 01_x.py has not: the .py is what runs" in capsys.readouterr().err


def test_lab_opens_copies_that_keep_outputs_and_edits_and_follow_the_source(tmp_path):
    source, pair = in_step(tmp_path)
    clean, lab = pair.read_bytes(), tmp_path / "lab"
    copy = lab / "01_x.ipynb"
    assert copies(lab, tmp_path) == []
    assert copy.read_bytes() == clean
    run_and_saved(copy)
    saved = copy.read_bytes()
    assert copies(lab, tmp_path) == []
    assert copy.read_bytes() == saved != clean
    source.write_text(source.read_text().replace("print(2)", "print(3)"))
    assert copies(lab, tmp_path) == []
    assert copy.read_bytes() == clean_text(source).encode()
    edited(copy, "text")
    mine = copy.read_bytes()
    assert copies(lab, tmp_path) == ["01_x.ipynb"]
    assert copy.read_bytes() == mine
    assert pair.read_bytes() == clean


def test_make_lab_opens_copies():
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    assert "notebook copy" in recipe
    assert "jupyter lab notebooks" not in recipe


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"header": ""}, "no kernel python3"),
        ({"header": HEADER + "\n"}, "an empty cell"),
        ({"parameters": ""}, "0 cells tagged"),
        ({"parameters": PARAMETERS * 2}, "2 cells tagged"),
        ({"parameters": PARAMETERS.replace("laptop", "paper")}, "must open with profile = 'laptop'"),
        ({"parameters": PARAMETERS.replace("dataset =", "data = 1\ndataset =")}, "must open with"),
        ({"parameters": PARAMETERS.replace("= 3", "= 2 + len('a')")}, "plain literals"),
        ({"body": "# %%\n" + "x = 1\n" * 11}, "11 lines of code"),
        ({"body": "# %%\nimport os\n" + "x = 1\n" * 15}, "16 lines of code"),
        ({"body": "# %%\ndef f():\n" + "    x = 1\n" * 5}, "move it to the library"),
    ],
)
def test_lint_names_each_broken_rule(tmp_path, kwargs, message):
    wrong = lint(notebook(tmp_path, **({"body": ""} | kwargs)))
    assert len(wrong) == 1
    assert message in wrong[0]


def test_lint_allows_what_the_rules_allow(tmp_path):
    body = (
        "# %%\nimport os\n" + "x = 1\n" * 14 + "\n# %%\n# a comment\n" + "x = 1\n" * 10 + "\n# %%\n%matplotlib inline\n"
    )
    assert lint(notebook(tmp_path, body)) == []
    assert lint(notebook(tmp_path, body, '# %% tags=["parameters"]\nprofile = "laptop"\nseed = -1\n\n')) == []


@kernel
def test_run_is_whole_clean_and_renders(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    body = """# %%
import os
import ipywidgets
print(epochs, os.path.basename(os.getcwd()), os.environ["VAELIB_HEADLESS"], os.environ.get("MPLBACKEND"))

# %% tags=["interactive"]
ipywidgets.FloatSlider(description="only live")
"""
    source = notebook(tmp_path, body)
    out = run(source, tmp_path / "build" / "x.ipynb", {"epochs": 7}, log=False)
    done = nbformat.read(out, 4)
    assert done.cells[-2].outputs[0].text.split()[:3] == ["7", tmp_path.name, "1"]
    assert "Agg" not in done.cells[-2].outputs[0].text
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    assert "widgets" not in done.metadata
    assert str(tmp_path) not in str(done.metadata)
    assert os.environ["MPLBACKEND"] == "Agg"
    assert "VAELIB_HEADLESS" not in os.environ
    assert [path.name for path in out.parent.iterdir()] == ["x.ipynb"]
    page = to_html(out, tmp_path / "html" / "x.html").read_text()
    assert "only live" not in page
    assert "<script src" not in page
    assert "import(" not in page
    assert "epochs" in page


@kernel
def test_a_failed_run_leaves_no_target_but_its_part(tmp_path, capsys):
    source = notebook(tmp_path, '# %%\nprint("so far")\n\n# %%\n1 / 0\n')
    out = tmp_path / "out.ipynb"
    out.write_text("old")
    with pytest.raises(VaelibError, match=r"01_x.py failed: ZeroDivisionError"):
        run(source, out, {}, log=False)
    assert out.read_text() == "old"
    part = nbformat.read(tmp_path / ".out.part.ipynb", 4)
    assert str(tmp_path) not in str(part.metadata)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob(".*ipynb")] == [".out.part.ipynb"]
    run(notebook(tmp_path, "# %%\nprint(1)\n"), out, {}, log=False)
    assert not list(tmp_path.glob(".*ipynb"))  # it tells of no run but the last


def test_a_folder_is_no_notebook(tmp_path):
    with pytest.raises(VaelibError, match=r"is a folder; give the name of a file, as .*01_x.ipynb"):
        run(notebook(tmp_path, "# %%\n1 / 0\n"), tmp_path, {}, log=False)


@kernel
def test_a_kernel_ends_without_a_word_of_the_tasks_that_it_leaves(tmp_path):
    """What asyncio tells of them reaches the terminal beside the log; the notebook's own names stay as they are."""
    text = "import logging\nassert logging.getLogger('asyncio').level == logging.CRITICAL\n"
    source = notebook(tmp_path, f"# %%\nassert '__import__' not in dir() and 'logging' not in dir()\n{text}")
    assert run(source, tmp_path / "out.ipynb", {}).exists()


def test_a_quiet_exit_is_no_success(tmp_path):
    source = notebook(tmp_path, "# %%\nimport sys\nsys.exit(0)\n\n# %%\nprint(1)\n")
    with pytest.raises(VaelibError, match=r"stopped early|failed"):
        run(source, tmp_path / "out.ipynb", {}, log=False)
    assert not (tmp_path / "out.ipynb").exists()


def test_an_unknown_parameter_is_fatal_before_anything_runs(tmp_path):
    source = notebook(tmp_path, "# %%\n1 / 0\n")
    with pytest.raises(VaelibError, match=r"no parameter epoch; it has .*; did you mean epochs"):
        run(source, tmp_path / "out.ipynb", {"epoch": 3}, log=False)
    assert [path.name for path in tmp_path.iterdir()] == ["01_x.py"]


@pytest.mark.parametrize("verb", [["check"], ["sync"], ["run", "03_three_gaps", "--out", "out.ipynb"]])
def test_outside_a_checkout_the_notebook_verbs_say_that_they_need_one(tmp_path, monkeypatch, capsys, verb):
    """As from a wheel, in a folder of one's own. It once offered an empty list, and found that rules were kept."""
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site" / "vaelib" / "paths.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        VaelibError, match=r"notebooks holds no notebooks: they need a checkout of the repository"
    ) as error:
        app(["notebook", *verb], standalone_mode=False)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


TYPED = PARAMETERS + "amp = True  # x\nlr = 0.1  # x\noverrides = {}  # x\npair = None  # x\n\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dataset=2024-01-01", "2024-01-01"),
        ("dataset=2024", "2024"),
        ("dataset=photos #1: 'a' $b", "photos #1: 'a' $b"),
        ("profile=null", "null"),
        ("epochs=010", 10),
        ("lr=1e-3", 1e-3),
        ("amp=false", False),
        ("pair=[3, 17]", [3, 17]),
        ('overrides={"epochs": 20}', {"epochs": 20}),
        ("overrides={'epochs': 20, 'amp': True}", {"epochs": 20, "amp": True}),
    ],
)
def test_a_parameter_is_read_by_the_type_of_its_default(tmp_path, text, value):
    (read,) = read_parameters(notebook(tmp_path, "", TYPED), [text]).values()
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["epochs=true", "epochs=1:30", "amp=3", "lr=low", "overrides=20", "overrides={", "epochs"]
)
def test_a_parameter_of_another_type_is_refused(tmp_path, text):
    with pytest.raises(VaelibError, match=r"is wanted|name=value"):
        read_parameters(notebook(tmp_path, "", TYPED), [text])


def test_a_path_is_as_seen_from_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npz").touch()
    source = notebook(tmp_path, "", TYPED)
    assert read_parameters(source, ["dataset=mine.npz"]) == {"dataset": str(tmp_path / "mine.npz")}
    assert read_parameters(source, ["dataset=cifar10"]) == {"dataset": "cifar10"}
    given = read_parameters(source, ["overrides={'bank_from': 'mine.npz', 'teacher_from': 'google/ddpm-cifar10-32'}"])
    assert given == {"overrides": {"bank_from": str(tmp_path / "mine.npz"), "teacher_from": "google/ddpm-cifar10-32"}}


def test_settings_reach_the_notebooks_that_take_some(tmp_path):
    with_overrides, without = notebook(tmp_path, "", TYPED), notebook(tmp_path, "", name="02_y.py")
    settings = ["n_train=40 epochs=20"]
    assert read_parameters(with_overrides, [], settings) == {"overrides": {"n_train": 40, "epochs": 20}}
    assert read_parameters(without, [], settings) == {}
    assert read_parameters(with_overrides, [], [""]) == {}
    taking = [path.stem for path in NOTEBOOKS if read_parameters(path, [], settings)]
    assert taking == [path.stem for path in NOTEBOOKS if path.stem != "10_claims"]  # which only reads tables


@kernel
def test_what_a_worker_prints_is_in_the_log_once_and_the_kernels_end_is_no_error(tmp_path, monkeypatch, capfd):
    """A worker prints to the kernel's own file; an interrupt is how a kernel is asked to end."""
    body = """# %%
import os, sys
print(os.path.isabs(os.environ["VAELIB_BUILD"]))
_ = os.system("echo printed by a worker")

# %%
get_ipython().kernel.log.error("KeyboardInterrupt caught in kernel.")
"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAELIB_BUILD", "build")
    run(notebook(tmp_path, body), tmp_path / "out.ipynb", {})
    said = "".join(capfd.readouterr())
    assert "True\n" in said
    assert said.count("printed by a worker") == 1
    assert "KeyboardInterrupt" not in said


# What a kernel with worker processes holds, and that it ends by the interrupt itself, as one whose workers are gone.
BUSY = """import multiprocessing, os, signal
locks = [multiprocessing.get_context("spawn").Lock() for _ in range(3)]
signal.signal(signal.SIGINT, lambda *_: os._exit(1))
"""


@pytest.mark.parametrize("busy", ["", BUSY], ids=["idle", "with workers"])
def test_an_interrupted_notebook_ends_without_a_word_of_its_cells(tmp_path, busy):
    source = notebook(tmp_path, f"# %%\n{busy}import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(60)\n")
    code = f"from vaelib.notebooks.execution import run; run({str(source)!r}, {str(tmp_path / 'out.ipynb')!r}, {{}})"
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.tracebacklimit = 0; {code}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said.strip() == "KeyboardInterrupt"
    assert not (tmp_path / "out.ipynb").exists()
