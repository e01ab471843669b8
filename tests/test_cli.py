"""The command line: what it says of itself, what it refuses at once, and Ctrl-C."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vaelib import __version__
from vaelib.__main__ import main
from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.notebooks import execution
from vaelib.report.study import studies


@pytest.fixture
def vaelib(monkeypatch):
    """Return a function that runs ``vaelib`` in this process, wide enough that no line is folded."""
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *words: CliRunner().invoke(app, list(words))


def test_help_begins_with_what_it_is_for(vaelib):
    text = vaelib("--help").output
    assert "Train VAEs on real and on synthetic images" in text
    assert "library function" not in text
    assert vaelib("--version").output == f"vaelib {__version__}\n"


def test_run_names_the_experiments_there_are(vaelib):
    names = [study.name for study in studies().values() if study.runs]
    assert len(names) > 10
    for verb in ("run", "plan", "teacher"):
        text = " ".join(vaelib(verb, "--help").output.replace("│", " ").split())
        assert ", ".join(names) in text


@pytest.mark.parametrize("words", [["fetch"], ["plan"], ["run"], ["teacher"], ["tag"], ["report"], ["notebook", "run"]])
def test_every_option_is_explained(vaelib, words):
    lines = [line.strip("│ ") for line in vaelib(*words, "--help").output.splitlines() if line.startswith("│")]
    options = [line for line in lines if line.startswith(("--", "-p", "*"))]
    assert options
    columns = [re.split(r"\s{2,}", line) for line in options]  # its names, what it takes, and what it does
    assert [some for some in columns if len(some) < 2 or len(some[-1].split()) < 2] == []


@pytest.mark.parametrize("words", [["run", "--workers", "-1"], ["plan", "--count", "0"]])
def test_a_number_out_of_range_is_refused_at_once(vaelib, words):
    done = vaelib(*words)
    assert done.exit_code == 2
    assert f"Invalid value for '{words[1]}'" in done.output


def test_a_device_that_cannot_be_used_is_told_before_data_is_fetched(vaelib, monkeypatch):
    monkeypatch.setattr("vaelib.runs.stages.data.load_dataset", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(VaelibError, match="device = mps"):
        raise vaelib("run", "--profile", "smoke", "--device", "mps").exception


def test_a_tag_is_checked_and_printed(vaelib, toy, tmp_path):
    assert vaelib("tag").output == "fashion_mnist\n"
    assert vaelib("tag", "--likelihood", "mol").output == "fashion_mnist-mol\n"
    assert vaelib("tag", "--dataset", toy, "--set", "n_train=40 epochs=2").output.startswith("toy-")
    assert len(vaelib("tag", "--dataset", toy).output.split()) == 1
    images = np.zeros((10, 28, 28), np.uint8)
    np.savez(tmp_path / "flat.npz", images=images)
    np.savez(tmp_path / "one.npz", images=images, y=np.ones(10, int))
    for place in ("flat", "one/class"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / place / "0.png")
    for name in ("flat.npz", "one.npz", "flat", "one"):  # no classifier can be tested on them
        told = vaelib("tag", "--dataset", str(tmp_path / name)).output
        assert told.split()[1:] == ["02_diffusion_as_data", "05_downstream_tasks"]
    mistakes = {"profile": "smok", "dataset": "cifar11", "likelihood": "gauss", "set": "epoch=3"}
    for option, value in mistakes.items():
        told = vaelib("tag", f"--{option}", value).exception
        assert isinstance(told, VaelibError)
        assert type(vaelib("run", "three_gaps", f"--{option}", value).exception) is VaelibError
        assert str(vaelib("run", "three_gaps", f"--{option}", value).exception) == str(told)


def test_a_plan_of_images_of_ones_own_is_json(vaelib, toy):
    done = vaelib("plan", "three_gaps", "--dataset", toy, "--quick", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["dataset"].startswith("toy-")


def test_a_count_of_no_hardware_is_refused(vaelib):
    with pytest.raises(VaelibError, match="--count 8 counts what --hardware names; give both, or neither"):
        raise vaelib("plan", "--quick", "--count", "8").exception
    with pytest.raises(VaelibError, match="--mps needs --hardware; of this machine it is seen whether MPS is on"):
        raise vaelib("plan", "--quick", "--mps").exception


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--quick", "--hardware", "h100"], "--quick takes .* and --hardware h100 that card's; give one"),
        (["claims", "--workers", "7"], "--workers 7 is for the runs of --resolve ID"),
        (["teacher", "--profile", "smoke", "--set", "use_results=true"], "use_results trains nothing"),
    ],
)
def test_options_that_would_change_nothing_are_refused(vaelib, words, said):
    with pytest.raises(VaelibError, match=said):
        raise vaelib(*words).exception


def test_json_is_all_that_a_plan_prints_while_it_times_the_machine(vaelib, toy, monkeypatch):
    monkeypatch.setattr("vaelib.planning.machine_speed.calibrate", lambda: print("timing"))
    monkeypatch.setattr("vaelib.runs.cost.price.measured", lambda: None)
    done = vaelib("plan", "three_gaps", "--profile", "smoke", "--dataset", toy, "--json")
    assert json.loads(done.stdout)["profile"] == "smoke"


@pytest.mark.parametrize("name", ["scipy", "scipy.special"])
def test_a_package_that_is_missing_within_a_command_is_named(monkeypatch, name):
    def needs():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("vaelib.cli.app", needs)
    with pytest.raises(SystemExit, match=f"needs {name}; if it is one of vaelib's extras: pip install"):
        main()


def test_a_module_of_ours_that_is_missing_is_a_fault(monkeypatch):
    def needs():
        raise ModuleNotFoundError("No module named 'vaelib.gone'", name="vaelib.gone")

    monkeypatch.setattr("vaelib.cli.app", needs)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_ctrl_c_says_how_to_go_on(vaelib, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "run", stopped)
    done = vaelib("notebook", "run", "00_tour", "--out", str(tmp_path / "out.ipynb"))
    assert done.exit_code == 130
    assert done.stderr == "stopped; the same command goes on from there\n"
