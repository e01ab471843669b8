"""One teacher by several processes: the same loss curve as by one, whatever dropout draws."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from vaelib import runs
from vaelib.errors import VaelibError
from vaelib.models.denoiser import build_denoiser
from vaelib.runs import Store, three_gaps
from vaelib.runs.engine import all_artifacts
from vaelib.runs.stages.diffusion import build_teacher
from vaelib.runs.store import load_tensors
from vaelib.training import diffusion
from vaelib.training.diffusion import DiffusionState, train_denoiser

torch.set_num_threads(1)
IMAGES = torch.randint(0, 256, (40, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TRAINING = {"n_images": 64, "batch_size": 16, "lr_rampup": 32, "report_every": 16, "amp": False}


def trained(dropout=0.0, **options):
    torch.manual_seed(0)
    net = build_denoiser(
        1, width=16, multipliers=(1, 1), blocks=1, attention=(), dropout=dropout, space_to_depth=4, norm_groups=1
    )
    state = DiffusionState(net)
    losses = [step.loss for step in train_denoiser(net, IMAGES, state=state, **TRAINING, **options)]
    return torch.tensor(losses), state.tensors()


def test_passes_add_up_to_the_batch():
    whole, uneven = (trained(microbatch=microbatch)[0] for microbatch in (None, 5))
    torch.testing.assert_close(uneven, whole, rtol=1e-4, atol=0)


def test_dropout_belongs_to_a_pass():
    one, again, other = (trained(0.3, microbatch=size)[1] for size in (4, 4, 8))
    name = "model/network.unet.conv_in.weight"
    assert torch.equal(one[name], again[name])
    assert not torch.allclose(one[name], other[name], atol=1e-4)


def test_more_processes_than_passes_are_refused(monkeypatch):
    monkeypatch.setattr(diffusion, "processes", lambda: (0, 4))
    with pytest.raises(VaelibError, match="2 passes, too few for 4 processes; set it to at most 4"):
        trained(microbatch=8)
    with pytest.raises(VaelibError, match="1 passes"):
        trained()


def test_two_processes_follow_the_loss_curve_of_one(tmp_path):
    path, rng = tmp_path / "toy.npz", np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (80, 28, 28)).astype(np.uint8), labels=np.arange(80) % 2)
    overrides = {"n_train": 40, "n_test": 16, "teacher_images": 200, "teacher_batch_size": 20, "teacher_microbatch": 5}
    overrides |= {"teacher_lr_rampup": 0, "teacher_dropout": 0.1, "amp": False}
    options = [item for name, value in overrides.items() for item in ("--set", f"{name}={value}")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "vaelib", "teacher", "--profile", "smoke", "--dataset", str(path), *options]
    env = os.environ | {"VAELIB_BUILD": str(tmp_path / "two"), "OMP_NUM_THREADS": "1", "VAELIB_CHECKPOINT_SECONDS": "0"}
    two = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    chosen = three_gaps("smoke", str(path), overrides=overrides)
    (teacher,) = (artifact for artifact in all_artifacts(chosen.runs) if artifact.kind == "teacher")
    store = Store(tmp_path / "one")
    runs.run([teacher], store=store, workers=0)
    said, wrong = two.communicate(timeout=120)
    assert two.returncode == 0, wrong
    assert said.endswith("1 teachers are in the store\n")

    folders = [store.require(teacher), Store(tmp_path / "two/store").require(teacher)]  # one key for both
    ours, theirs = (np.array(json.loads((folder / "losses.json").read_text())) for folder in folders)
    assert len(ours) > 5
    np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
    np.testing.assert_allclose(theirs[:, 1], ours[:, 1], rtol=1e-5)
    weights = [load_tensors(folder / "weights.safetensors")[0] for folder in folders]
    start = build_teacher(teacher).state_dict()
    flat = [torch.cat([tensors[name].flatten() for name in start]) for tensors in (start, *weights)]
    moved, apart = (flat[1] - flat[0]).norm(), (flat[2] - flat[1]).norm()
    assert apart < 1e-4 * moved
