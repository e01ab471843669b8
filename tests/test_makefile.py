"""The Makefile: its table of contents, that nothing runs twice, and that whatever is given arrives as it was given."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from PIL import Image

from vaelib.data import dataset_names
from vaelib.runs.settings import LikelihoodName
from vaelib.studies.catalogue import make_lines

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Makefile").read_text()
FILES = ("run.sh", "run.mk", "setup.sh", "versions.sh")
# A name with all that a shell, make or YAML could take for something else.
ODD = """my "photos" & dogs' #1; $(touch gone) `touch gone` $(shell touch gone) 100:30"""


def make(*arguments: str, check: bool = True, **environment: str) -> str:
    """Run make as a person would, with no goal or variable of a make around it; return all that it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "VAELIB_BUILD"))}
    done = subprocess.run(
        ["make", *([] if "-C" in arguments else ["-C", str(ROOT), f"ENV={sys.prefix}"]), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=clean | environment,
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def without_uv() -> str:
    """Return PATH without the folders that have uv, which would be taken for the installation."""
    return os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if not Path(one, "uv").exists())


def test_help_lists_every_goal():
    listed = re.findall(r"^  make ([\w-]+)", make("help"), re.MULTILINE)
    assert sorted(listed) == sorted(re.search(r"^\.PHONY: (.*)", TEXT, re.MULTILINE).group(1).split())


@pytest.mark.parametrize(
    ("given", "meant"),
    [("~/a b", "/home/me/a b"), ("/a b", "/a b"), ("a b", f"{ROOT}/a b")],
)
def test_a_build_folder_is_absolute_and_may_begin_at_home(given, meant):
    assert f"\nVAELIB_BUILD := {meant}\n" in make("-pn", "help", f"VAELIB_BUILD={given}", HOME="/home/me")


@pytest.fixture
def told(tmp_path):
    """Return make's variables for a Python that has been told what `vaelib studies --make` says: it starts in no time."""
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / ".vaelib-ready").write_text("")
    for setting in (
        ("fashion_mnist", "default"),
        ("cifar10", "default"),
        ("binary_mnist", "default"),
        ("fashion_mnist", "mol"),
    ):
        (environment / "-".join(setting)).write_text(make_lines(*setting))
    (environment / "bin/python").write_text(
        f'#!/bin/sh\n[ "$3" = studies ] && cat "{environment}/$DATASET-$LIKELIHOOD"\n'
    )
    (environment / "bin/python").chmod(0o755)
    return [f"ENV={environment}", f"VAELIB_BUILD={tmp_path / 'build'}"]


def test_the_default_goal_is_the_headline_and_every_notebook_belongs_to_all(told):
    dry = make("-n", *told)
    assert "notebook run 03_three_gaps" in dry
    assert "report --profile" in dry
    everything = make("-n", "all", *told, "DATASET=cifar10")
    for path in ROOT.glob("notebooks/[0-9]*.py"):
        assert (
            f'notebook run {path.stem} --out="$VAELIB_BUILD/laptop/notebooks/{path.stem}.cifar10.ipynb"' in everything
        )


def test_sweeps_are_run_where_the_paper_has_them(told):
    """They are on the residual network with a mixture of logistics whatever LIKELIHOOD says."""
    for arguments in (["DATASET=binary_mnist"], ["LIKELIHOOD=mol"]):
        dry = make("-n", "all", *told, *arguments)
        assert "notebook run 03_three_gaps" in dry
        assert "notebook run 08_overparameterization" not in dry
    sweeps = make("-n", "sweeps", *told, "DATASET=binary_mnist")
    assert "notebook run 08_overparameterization" in sweeps
    assert "notebook run 03_three_gaps" not in sweeps


def test_what_make_takes_without_a_look_is_what_the_code_knows():
    known = re.findall(r"=~ \^\(([\w|]+)\)\$", (ROOT / "notebooks/run.sh").read_text())
    profiles = yaml.safe_load((ROOT / "vaelib/runs/profiles.yaml").read_text())
    expected = [profiles, dataset_names(), ["default", *get_args(LikelihoodName)]]
    assert [words.split("|") for words in known] == [list(names) for names in expected]


# --- make's own decisions, with a Python that only writes down what it is asked for -------------------------------------

FAKE_PYTHON = """#!/bin/bash
if [ "$3" = studies ]; then
  echo ALL := $(basename -as .py notebooks/*.py)
  printf '%s\\n' 'SWEEPS :=' 'HEADLINE := 03_three_gaps' 'LEDGER := 10_claims'
  exit
fi
for word; do printf '%s\\0' "$word"; done >> "$CALLS"; printf '\\n\\0' >> "$CALLS"
case "$1 $2" in
  -c*torch*) echo "$TORCH_HERE"; exit ;;
  -c*) echo "${VERSION:-3.12 True}"; exit ;;
esac
for word; do
  case "$word" in
    --dataset=*) data=${word#*=} ;;
    --out=*) out=${word#*=} ;;
    tag | report | pip) verb=$word ;;
  esac
done
case "$verb" in
  tag) echo "mine-$(cksum < "$data" | cut -d' ' -f1)$CANNOT" ;;
  report) echo REPORT; touch "$VAELIB_BUILD/$PROFILE/report.html" ;;
  pip) echo "Obtaining"; echo "Collecting torch"; echo "  Downloading torch-2.whl (900 MB)" ;;
esac
if [ -n "$out" ]; then eval "$NOTEBOOK"; touch "$out"; fi
"""


class Project:
    """A checkout of nothing but names, in a folder of an odd name."""

    def __init__(self, folder: Path, name: str):
        self.folder, self.environment, self.build = folder / name, folder / f"env {name}", folder / f"build {name}"
        self.calls = folder / "calls"
        for one in (self.environment / "bin", self.folder / "vaelib", self.folder / "notebooks"):
            one.mkdir(parents=True)
        for one in ("Makefile", *(f"notebooks/{name}" for name in FILES)):
            (self.folder / one).write_text((ROOT / one).read_text())
        for one in (
            "pyproject.toml",
            "requirements.lock",
            "vaelib/a.py",
            "notebooks/00_tour.py",
            "notebooks/03_three_gaps.py",
        ):
            (self.folder / one).write_text("")
        (self.environment / "bin/python").write_text(FAKE_PYTHON)
        (self.environment / "bin/python").chmod(0o755)
        self.ready = self.environment / ".vaelib-ready"
        self.ready.write_text("")

    def variables(self, **environment: str) -> dict[str, str]:
        return {"CALLS": str(self.calls), "VIRTUAL_ENV": str(self.environment)} | environment

    def make(self, *arguments: str, check: bool = True, **environment: str) -> str:
        """Run make, say what Python was asked for in ``asked``, and return what make says."""
        self.calls.unlink(missing_ok=True)
        values = self.variables(**environment)
        text = make("-C", str(self.folder), f"VAELIB_BUILD={self.build}", *arguments, check=check, **values)
        calls = self.calls.read_text() if self.calls.exists() else ""
        self.asked = [call.split("\0")[:-1] for call in calls.split("\n\0")[:-1]]
        return text


@pytest.fixture(params=["plain", ODD.replace("/", "")], ids=["plain", "odd"])
def project(request, tmp_path):
    return Project(tmp_path, request.param)


def test_another_data_set_renews_the_report_and_nothing_renews_it_twice(project):
    reports = []
    for dataset in ("fashion_mnist", "binary_mnist", "binary_mnist"):
        reports.append("REPORT" in project.make("all", f"DATASET={dataset}"))
    assert reports == [True, True, False]
    assert project.asked == []


def test_other_images_at_the_same_path_and_other_settings_are_made_anew(project, tmp_path):
    mine, other = tmp_path / "a" / "images.npz", tmp_path / "b" / "images.npz"
    made = []

    def call(path: Path, content: str, *settings: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        made.append("REPORT" in project.make("headline", f"DATASET={path}", *settings))

    call(mine, "one")
    call(mine, "one")
    call(mine, "two")
    call(other, "three")
    call(other, "three", "SET=n_train=40 epochs=20")
    call(other, "three", "SET=n_train=40 epochs=20")
    call(other, "three")
    assert made == [True, False, True, True, True, False, True]


def test_images_without_classes_leave_two_notebooks_out_and_one_line_says_so(project, tmp_path):
    (tmp_path / "flat.npz").write_text("x")
    for name in ("02_diffusion_as_data", "05_downstream_tasks", "10_claims"):
        (project.folder / f"notebooks/{name}.py").write_text("")
    call = ("all", f"DATASET={tmp_path / 'flat.npz'}")
    text = project.make(*call, CANNOT=" 02_diffusion_as_data 05_downstream_tasks")
    assert (
        text.count("notebooks 02_diffusion_as_data 05_downstream_tasks are left out: all images are of one class") == 1
    )
    made = [call[4] for call in project.asked if call[2:4] == ["notebook", "run"]]
    assert sorted(made) == ["00_tour", "03_three_gaps", "10_claims"]
    assert "REPORT" in text
    assert "left out" not in project.make("headline", call[1], CANNOT=" 02_diffusion_as_data")
    text = project.make(*call)
    assert "left out" not in text
    assert any(call[4] == "05_downstream_tasks" for call in project.asked if call[2:4] == ["notebook", "run"])


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_every_value_arrives_as_it_was_given(project, tmp_path, way):
    data = tmp_path / f"{ODD}.npz"
    data.write_text("x")
    values = {"DATASET": str(data), "SET": f"bank_from={ODD} k=2"}
    arguments = [f"{name}={value}" for name, value in values.items()] if way == "argument" else []
    environment = values if way == "environment" else {}
    project.make("headline", *arguments, **environment)
    tag, notebook, report = project.asked
    assert tag[2:] == [
        "tag", "--profile=laptop", f"--dataset={data}", "--likelihood=default", f"--set=bank_from={ODD} k=2"
    ]  # fmt: skip
    assert notebook[2:5] == ["notebook", "run", "03_three_gaps"]
    assert notebook[5].startswith(f"--out={project.build}/laptop/notebooks/03_three_gaps.mine-")
    assert notebook[7:] == [
        "-p", "profile=laptop", "-p", f"dataset={data}", "-p", "likelihood=default", f"--set=bank_from={ODD} k=2"
    ]  # fmt: skip
    assert report[2:] == ["report", "--profile=laptop"]
    project.make("plan", *arguments, **environment)
    assert f"--dataset={data}" in project.asked[0]
    project.make("smoke", *arguments, **environment)
    assert "profile=smoke" in project.asked[1]
    assert f"dataset={data}" in project.asked[1]
    assert not list(tmp_path.rglob("gone"))


def test_a_failed_notebook_names_its_log(project):
    text = project.make("headline", check=False, NOTEBOOK="echo its last words; exit 1")
    assert f"03_three_gaps failed: see {project.build}/laptop/logs/03_three_gaps.fashion_mnist.log" in text
    assert "REPORT" not in text
    assert (project.build / "laptop/logs/03_three_gaps.fashion_mnist.log").read_text() == "its last words\n"


def test_ctrl_c_is_no_failure_and_the_log_is_whole(project):
    """Ctrl-C reaches everything in the foreground: make, its shells, tee and Python."""
    started = project.build / "started"
    notebook = (
        f"trap 'echo its last words; exit 130' INT; touch '{started.name}'; for i in {{1..600}}; do sleep 0.1; done"
    )
    values = project.variables(NOTEBOOK=notebook.replace(f"'{started.name}'", '"$VAELIB_BUILD/started"'))
    process = subprocess.Popen(
        ["make", "-C", str(project.folder), f"VAELIB_BUILD={project.build}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | values,
    )
    deadline = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert "03_three_gaps stopped; make goes on from there" in text
    assert "failed" not in text
    assert (project.build / "laptop/logs/03_three_gaps.fashion_mnist.log").read_text() == "its last words\n"


def test_an_old_python_is_refused_at_once(project):
    project.ready.unlink()
    text = project.make("setup", check=False, VERSION="3.10 False")
    assert "Python 3.11 or newer is needed" in text
    assert f"{project.environment}/bin/python is 3.10" in text
    assert len(project.asked) == 1  # for its version; no pip
    assert not project.ready.exists()


def test_setup_says_what_it_is_doing_and_does_it_once(project):
    project.ready.unlink()
    text = project.make("setup", PATH=without_uv())
    assert "  Collecting torch\n    Downloading torch-2.whl (900 MB)\n" in text
    assert "Obtaining" in (project.build / "logs/setup.log").read_text()
    project.make("setup")
    assert project.asked == []
    for newer in ("pyproject.toml", "requirements.lock"):
        os.utime(project.folder / newer, (time.time() + 100,) * 2)
        project.make("setup", PATH=without_uv())
        assert project.asked != []
        os.utime(project.folder / newer, (0, 0))


def installed(project) -> list[list[str]]:
    """Return what pip or uv was asked to install, without options that only say how loudly."""
    quiet = {"--progress-bar", "off"}
    return [[word for word in call if word not in quiet] for call in project.asked if "install" in call]


def test_a_venv_of_the_projects_own_gets_what_was_tested_and_ones_own_keeps_what_it_has(project):
    project.ready.unlink()
    text = project.make("setup", PATH=without_uv())
    assert "is yours: what it has is kept" in text
    assert installed(project)[0] == ["-m", "pip", "install", "-e", ".[all]"]
    project.ready.unlink()
    project.environment.rename(project.folder / ".venv")
    text = project.make("setup", PATH=without_uv(), VIRTUAL_ENV="", CONDA_PREFIX="")
    assert "is yours" not in text
    assert installed(project)[0] == ["-m", "pip", "install", "-c", "requirements.lock", "-e", ".[all]"]


FAKE_UV = """#!/bin/bash
for word in uv "$@"; do printf '%s\\0' "$word" >> "$CALLS"; done; printf '\\n\\0' >> "$CALLS"
echo "its last words"; exit "${UV_ENDS:-0}"
"""


@pytest.fixture
def uv(project, tmp_path):
    """Return the PATH of a machine that has uv, and make the project's environment its own, with nothing installed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uv").write_text(FAKE_UV)
    (tmp_path / "bin/uv").chmod(0o755)
    project.ready.unlink()
    project.environment.rename(project.folder / ".venv")
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": "", "CONDA_PREFIX": ""}


def test_uv_is_taken_where_it_is_there(project, uv):
    project.make("setup", **uv)
    python = f"{project.folder}/.venv/bin/python"
    tested = ["-c", "requirements.lock", "-e", ".[all]"]
    assert installed(project)[0] == ["uv", "pip", "install", "--python", python, *tested]


def test_the_small_build_of_torch_is_asked_for_once_and_remembered(project, uv):
    project.make("setup", "TORCH=cpu", **uv)
    assert installed(project)[0][5:] == ["-c", "requirements.lock", "--torch-backend=cpu", "-e", ".[all]"]
    project.make("setup", **uv)
    assert project.asked == []
    (project.folder / "pyproject.toml").touch()
    os.utime(project.folder / "pyproject.toml", (time.time() + 100,) * 2)
    project.make("setup", TORCH_HERE="2.14.1+cpu", **uv)
    assert "--torch-backend=cpu" in installed(project)[0]


def test_what_the_small_build_cannot_be_had_for_is_one_line(project, uv):
    (project.folder / ".venv/.vaelib-ready").write_text("")  # with the large one
    text = project.make("setup", "TORCH=cpu", check=False, TORCH_HERE="2.14.1", **uv)
    assert "TORCH=cpu is for a new environment" in text
    assert installed(project) == []
    text = project.make("setup", f"TORCH={ODD}", check=False, **uv)
    assert f"TORCH = '{ODD}' is unknown; choose cpu" in text
    assert project.asked == []
    (project.folder / ".venv/.vaelib-ready").unlink()
    text = project.make("setup", "TORCH=cpu", check=False, UV_ENDS="2", **uv)
    assert "torch's CPU build lies at torch's own index, which must be reached" in text
    assert "its last words" not in text
    assert "its last words" in (project.build / "logs/setup.log").read_text()
    assert not (project.folder / ".venv/.vaelib-ready").exists()


def test_the_lock_is_made_by_uv_and_new_versions_are_asked_for(project, uv):
    project.make("update-lock", **uv)
    (call,) = project.asked
    assert call[:4] == ["uv", "pip", "compile", "--quiet"]
    assert call[-3:] == ["pyproject.toml", "-o", "requirements.lock"]
    assert "--upgrade" not in call
    project.make("update-lock", "UPGRADE=1", **uv)
    assert "--upgrade" in project.asked[0]


@pytest.mark.parametrize("broken", ["setup", "studies", "notebook", "report"])
def test_what_fails_fails_on_a_macs_make_too(tmp_path, broken):
    """GNU make 3.81 has no .SHELLFLAGS: to it, the line sets a variable that nobody reads."""
    project = Project(tmp_path, "plain")
    for one in ("Makefile", "notebooks/run.mk"):
        text, lines = re.subn(r"^\.SHELLFLAGS.*\n", "", (project.folder / one).read_text(), flags=re.MULTILINE)
        assert lines == 1
        (project.folder / one).write_text(text)
    fake = project.environment / "bin/python"
    call = {"setup": "*pip*", "studies": "*studies*", "notebook": "*notebook*run*", "report": "*report*"}[broken]
    fake.write_text(fake.read_text().replace("\n", f'\ncase "$*" in {call}) echo it broke; exit 1 ;; esac\n', 1))
    if broken == "setup":
        project.ready.unlink()
    process = subprocess.run(
        ["make", "-C", str(project.folder), f"VAELIB_BUILD={project.build}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | project.variables(PATH=without_uv()),
    )
    assert process.returncode == 2, process.stdout
    assert "REPORT" not in process.stdout


@pytest.mark.parametrize(("user", "allowed"), [("0", True), ("1000", False)])
def test_lab_is_told_that_root_is_meant(project, tmp_path, user, allowed):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/id").write_text(f"#!/bin/sh\necho {user}\n")
    (tmp_path / "bin/id").chmod(0o755)
    project.make("lab", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    copied, opened = project.asked
    assert copied == ["-m", "vaelib", "notebook", "copy"]
    assert opened[:-1] == ["-m", "jupyter", "lab", *(["--allow-root"] if allowed else [])]
    assert Path(opened[-1]).name == "lab"


# --- with the Python that there is --------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path):
    """Return the variables of make for an environment that is this one, whatever it was installed by, and an empty build."""
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (environment / "bin/python").chmod(0o755)
    (environment / ".vaelib-ready").write_text("")
    return [f"ENV={environment}", f"VAELIB_BUILD={tmp_path / 'a build'}"]


def test_a_misspelt_name_is_told_before_anything_is_made(real, tmp_path):
    text = make("all", "LIKELIHOOD=gauss", *real, check=False)
    assert (
        "likelihood = 'gauss' is unknown; choose one of default, bernoulli, gaussian, mol; did you mean gaussian?"
        in text
    )
    assert not (tmp_path / "a build").exists()


@pytest.fixture
def photos(tmp_path):
    """Return a folder of 60 photos of mixed sizes in three classes; its name has a space."""
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "my photos" / ["cat", "dog", "owl"][number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*rng.integers(20, 90, 2), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "my photos"


def test_images_of_ones_own_go_from_make_to_the_report(real, photos, tmp_path):
    tiny = "SET=n_train=20 epochs=2 seeds=1 hidden=8 k=1 teacher_images=100 amortization_images=5 amortization_steps=5"
    call = ["headline", "PROFILE=smoke", f"DATASET={os.path.relpath(photos, ROOT)}/", tiny, *real]
    text = make(*call)
    assert re.search(r"my_photos-[0-9a-f]{8}: n_test = 200 is lowered to 12, for there are no more images", text)
    build = tmp_path / "a build/smoke"
    (figure,) = build.glob("figures/fig02_my_photos-????????.png")
    tag = figure.stem.removeprefix("fig02_")
    assert f"\n{tag}," in (build / "tables/three_gaps.csv").read_text()
    assert tag in (build / "report.html").read_text()
    assert "report: " not in make(*call)  # nothing is left to do


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["photos", "an npz of 240", "an npz without labels"])
def test_every_notebook_runs_on_images_of_ones_own(real, photos, tmp_path, kind):
    path = photos
    if kind != "photos":
        images = np.random.default_rng(0).integers(0, 256, (240, 28, 28), dtype=np.uint8)
        path = tmp_path / "my photos" / "mine.npz"
        np.savez(path, images=images, **({} if "without" in kind else {"labels": np.arange(240) % 3}))
    make("all", "PROFILE=smoke", f"DATASET={path}", *real)
    done = sorted(one.name.partition(".")[0] for one in (tmp_path / "a build/smoke/notebooks").glob("[0-9]*.ipynb"))
    left_out = ("02", "05") if "without" in kind else ()
    assert done == sorted(one.stem for one in ROOT.glob("notebooks/[0-9]*.py") if not one.stem.startswith(left_out))
