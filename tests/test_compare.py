"""A fresh build beside what was shipped: what must be equal, what seeds allow, and what is not compared at all."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from vaelib import paths
from vaelib.cli import app
from vaelib.files import read_json, write_json
from vaelib.results.compare import MACHINE, NothingToCompare, _held, compare, table_owners
from vaelib.results.shipped import TAKEN

HERE = dict.fromkeys(MACHINE, "1") | {"processor": "Xeon"}
ABOUT = {"data": "Toy", "training and test images": "8 and 4", "epochs": 5, "seeds": [0, 1, 2]}
PLACE = {"dataset": "toy", "likelihood": "gaussian"}


def gaps(seed: int, seeds: int = 3, shift: float = 0.0) -> pd.DataFrame:
    """Return a headline table whose numbers only differ by their draws (and a ``shift`` of one method's gap)."""
    rng = np.random.default_rng(seed)
    rows = []
    for method in ("normal", "dmaapx"):
        for number in range(seeds):
            row = PLACE | {"method": method, "seed": number, "n_train": 8, "n_test": 4, "source": "Toy", "d_z": 16}
            gap = 100 + rng.normal() + shift * (method == "dmaapx")
            row |= {
                "generalization_gap": gap,
                "generalization_gap_se": 0.5,
                "clean_floor": rng.normal(),
                "key": f"k{number}",
            }
            rows.append(row)
    return pd.DataFrame(rows)


def build(folder, table, **about):
    (folder / "tables").mkdir(parents=True)
    table.to_csv(folder / "tables/three_gaps.csv", index=False)
    write_json(folder / "build.json", {"toy, gaussian": ABOUT | HERE | about})
    return folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")
    return build(paths.results_folder("laptop"), gaps(0))


def verdicts(found, quantity="generalization_gap"):
    return dict(found.values[found.values["quantity"] == quantity].set_index("row")["verdict"])


def test_equal_bits_are_demanded_of_the_same_machine_alone(shipped, tmp_path):
    same = compare(shipped, build(tmp_path / "same", gaps(0)))
    assert set(same.values["verdict"]) == {"equal"}
    assert same.exact == ["toy, gaussian"]
    close = gaps(0)
    close.loc[0, "generalization_gap"] *= 1 + 1e-15
    there = compare(shipped, build(tmp_path / "there", close))
    assert not there.agrees
    assert verdicts(there) == {"toy, gaussian, normal": "differs", "toy, gaussian, dmaapx": "equal"}
    for number, other in enumerate(
        [{"processor": "EPYC"}, {"threads": "2"}, {"torch": "2"}, {"processor": "Xeon; EPYC"}]
    ):
        elsewhere = compare(shipped, build(tmp_path / str(number), close, **other))
        assert elsewhere.agrees
        assert elsewhere.exact == []


def test_other_random_numbers_agree_and_another_gap_does_not(shipped, tmp_path):
    agreed = [compare(shipped, build(tmp_path / str(n), gaps(n), processor="EPYC")).agrees for n in range(1, 16)]
    assert sum(agreed) >= 14  # a false alarm in one of twenty
    wrong = compare(shipped, build(tmp_path / "wrong", gaps(1, shift=60.0), processor="EPYC"))
    assert verdicts(wrong) == {"toy, gaussian, normal": "agrees", "toy, gaussian, dmaapx": "differs"}
    row = wrong.values.set_index(["row", "quantity"]).loc[("toy, gaussian, dmaapx", "generalization_gap")]
    ours, theirs = (
        table[table["method"] == "dmaapx"]["generalization_gap"] for table in (gaps(1, shift=60.0), gaps(0))
    )
    assert row["errors"] == pytest.approx((ours.mean() - theirs.mean()) / np.hypot(ours.sem(), theirs.sem()))


def test_one_seed_is_held_against_the_spread_of_the_shipped_ones(shipped, tmp_path):
    one = build(tmp_path / "one", gaps(1, seeds=1), processor="EPYC", seeds=[0])
    found = compare(shipped, one)
    assert found.agrees
    assert set(verdicts(found, "clean_floor").values()) == {"agrees"}
    both = compare(one, build(tmp_path / "other", gaps(2, seeds=1)))  # neither knows a spread: errors over images
    assert set(verdicts(both).values()) == {"agrees"}
    assert set(verdicts(both, "clean_floor").values()) == {"no tolerance"}
    far = compare(one, build(tmp_path / "far", gaps(2, seeds=1, shift=-99)))
    assert verdicts(far)["toy, gaussian, dmaapx"] == "differs"


def test_a_spread_that_serves_both_sides_has_the_freedom_of_one_estimate():
    nan = math.nan
    found = _held(
        np.array([[1.0, nan, 5.0, nan], [2.0, nan, nan, nan], [3.0, nan, nan, nan]]), "generalization_gap", False
    )
    t = (5 - 2) / math.sqrt(1 / 3 + 1)
    assert (found["errors"], found["p"]) == pytest.approx((t, 2 * stats.t.sf(t, 2)))


def test_what_needs_no_run_must_be_equal(shipped, tmp_path):
    found = compare(shipped, build(tmp_path / "b", gaps(1).assign(d_z=8), processor="EPYC"))
    assert set(verdicts(found, "d_z").values()) == {"differs"}


@pytest.mark.parametrize("other", [{"epochs": 9}, {"data": "Another"}, {TAKEN: "results/laptop"}])
def test_other_settings_and_what_was_taken_are_not_compared(shipped, tmp_path, other):
    with pytest.raises(NothingToCompare, match=f"nothing to compare.*`make PROFILE={shipped.name}`, without settings"):
        compare(shipped, build(tmp_path / "b", gaps(1), **other))
    with pytest.raises(NothingToCompare, match="came without results; choose laptop or overnight"):
        compare(tmp_path / "none", tmp_path / "b")
    for folder in (shipped, tmp_path / "b"):  # what the paper prints is equal everywhere, and no result
        pd.DataFrame([PLACE | {"likelihood": "mol", "paper": 1.5}]).to_csv(folder / "tables/table_07.csv", index=False)
    with pytest.raises(NothingToCompare):
        compare(shipped, tmp_path / "b")


def test_rows_of_other_sizes_are_counted_and_not_compared(shipped, tmp_path):
    mixed = gaps(0)
    mixed.loc[mixed["method"] == "normal", "n_train"] = 16
    found = compare(shipped, build(tmp_path / "b", mixed))
    assert set(found.values["row"]) == {"toy, gaussian, dmaapx"}
    assert found.alone["shipped"] == found.alone["yours"] == 3


def test_what_the_paper_prints_is_compared_where_only_one_side_has_run(shipped, tmp_path):
    mine = build(tmp_path / "b", gaps(0))
    for folder, made in ((shipped, {"ours": 2.0, "n_train": 8}), (mine, {"ours": None, "n_train": None})):
        pd.DataFrame([PLACE | {"paper": 1.5} | made]).to_csv(folder / "tables/table_07.csv", index=False)
    found = compare(shipped, mine)
    assert verdicts(found, "paper") == {"toy, gaussian": "equal"}
    assert found.alone == {"shipped": 1, "yours": 0}


@pytest.mark.parametrize(
    ("shift", "code", "word"), [(0.0, 0, "agrees"), (1.0, 1, "DIFFERS"), (None, 2, "nothing to compare")]
)
def test_the_command_says_it_and_exits_so(shipped, build_folder, shift, code, word):
    if shift is not None:
        build(build_folder / "laptop", gaps(0, shift=shift))
    done = CliRunner().invoke(app, ["compare"])
    assert done.exit_code == code
    assert word in done.output
    if shift is not None:
        assert len(pd.read_csv(build_folder / "laptop/compare.csv")) == 6
        assert read_json(shipped / "build.json")["toy, gaussian"]["data"] == "Toy"


def test_a_table_belongs_to_the_study_that_writes_it(shipped, tmp_path):
    """If the headline's numbers were taken, those of the corruptions were not."""
    mine = build(tmp_path / "b", gaps(0), **{TAKEN: "results/laptop"})
    for folder in (shipped, mine):
        known = read_json(folder / "build.json")
        write_json(folder / "build.json", known | {"toy, gaussian, downstream": ABOUT | HERE})
    for folder, shift in ((shipped, 0), (mine, 1_000)):
        table = gaps(0, seeds=6)[[*PLACE, "method", "seed"]].assign(accuracy=np.arange(12) * 0.01 + shift)
        table.to_csv(folder / "tables/corruptions.csv", index=False)
        table.to_csv(folder / "tables/brackets.csv", index=False)  # of the headline's VAEs, and without a record
    found = compare(shipped, mine)
    assert set(found.values["table"]) == {"corruptions"}
    assert set(verdicts(found, "accuracy").values()) == {"differs"}


def test_every_shipped_table_says_which_study_wrote_it():
    shared = {"sweep_curves"}  # its rows say it
    tables = {path.stem for path in (paths.project_root() / "results").glob("*/tables/*.csv")}
    assert tables - shared <= table_owners().keys()
    assert len(tables) > 20


@pytest.mark.parametrize("profile", ["laptop", "overnight"])
def test_what_is_shipped_agrees_with_itself(profile):
    folder = paths.project_root() / "results" / profile
    found = compare(folder, folder)
    assert set(found.values["verdict"]) <= {"equal", "no tolerance"}
    assert len(found.values) > 100
