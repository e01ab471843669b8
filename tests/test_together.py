"""One teacher by several processes: the same loss curve as by one, whatever dropout draws."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tests.test_survival import processes_of
from vaelib import runs
from vaelib.errors import VaelibError
from vaelib.models.denoiser import build_denoiser
from vaelib.runs import Store
from vaelib.runs.engine import all_artifacts
from vaelib.runs.stages.diffusion import build_teacher
from vaelib.runs.store import SCRATCH, load_tensors
from vaelib.studies.three_gaps.runs import three_gaps
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


class Together:
    """A tiny teacher trained by one process here and by several in folders of their own."""

    def __init__(self, folder, images=200):
        # Noise, not the fixture `toy`: there one weight moved by 1e-7 moves losses by 1e-2 within 100 steps of one process.
        self.folder, self.path, rng = folder, folder / "noise.npz", np.random.default_rng(0)
        np.savez(self.path, images=rng.integers(0, 256, (80, 28, 28)).astype(np.uint8), labels=np.arange(80) % 2)
        overrides = {"n_train": 40, "n_test": 16, "teacher_images": images, "teacher_batch_size": 20}
        overrides |= {"teacher_microbatch": 5, "teacher_lr_rampup": 0, "teacher_dropout": 0.1, "amp": False}
        self.options = [item for name, value in overrides.items() for item in ("--set", f"{name}={value}")]
        chosen = three_gaps("smoke", str(self.path), overrides=overrides)
        (self.teacher,) = (artifact for artifact in all_artifacts(chosen.runs) if artifact.kind == "teacher")

    def store(self, name):
        return Store(self.folder / name / "store")

    def start(self, name, processes):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [*torchrun, "-m", "vaelib", "teacher", "--profile", "smoke", "--dataset", str(self.path)]
        env = {"VAELIB_BUILD": str(self.folder / name), "OMP_NUM_THREADS": "1", "VAELIB_CHECKPOINT_SECONDS": "0"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, *self.options], env=os.environ | env, **pipes)

    def finish(self, running):
        said, wrong = running.communicate(timeout=300)
        assert running.returncode == 0, wrong
        assert said.endswith("1 teachers are in the store\n")

    def kill(self, name, processes):
        """Kill it once it has a checkpoint; return the images that the checkpoint had seen."""
        running, checkpoints = self.start(name, processes), self.store(name).work_folder(self.teacher) / SCRATCH
        while running.poll() is None and not list(checkpoints.glob("*.safetensors")):
            time.sleep(0.01)
        for number in processes_of(self.folder / name):  # torchrun gives each of its children a session of its own
            with contextlib.suppress(ProcessLookupError):  # it may end by itself once its parent is gone
                os.kill(number, signal.SIGKILL)
        running.communicate()
        assert not self.store(name).has_manifest(self.teacher)
        (checkpoint,) = checkpoints.glob("*.safetensors")
        return load_tensors(checkpoint)[1]["images_seen"]

    def assert_alike(self, name):
        """Assert that the teacher in ``name`` has the curve and the weights of the one trained by one process."""
        folders = [self.store("one").require(self.teacher), self.store(name).require(self.teacher)]  # one key for both
        ours, theirs = (np.array(json.loads((folder / "losses.json").read_text())) for folder in folders)
        assert len(ours) > 5
        np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
        np.testing.assert_allclose(theirs[:, 1], ours[:, 1], rtol=1e-5)
        weights = [load_tensors(folder / "weights.safetensors")[0] for folder in folders]
        start = build_teacher(self.teacher).state_dict()
        flat = [torch.cat([tensors[name].flatten() for name in start]) for tensors in (start, *weights)]
        moved, apart = (flat[1] - flat[0]).norm(), (flat[2] - flat[1]).norm()
        assert apart < 1e-4 * moved


def test_two_processes_follow_the_loss_curve_of_one(tmp_path):
    work = Together(tmp_path)
    two = work.start("two", 2)
    runs.run([work.teacher], store=work.store("one"), workers=0)
    work.finish(two)
    work.assert_alike("two")


@pytest.mark.slow
def test_four_processes_follow_it_too_and_so_do_two_that_were_killed_and_went_on_as_four(tmp_path):
    work = Together(tmp_path, images=2_000)
    runs.run([work.teacher], store=work.store("one"), workers=0)
    work.finish(work.start("four", 4))
    work.assert_alike("four")
    assert 0 < work.kill("killed", 2) < 2_000
    work.finish(work.start("killed", 4))
    work.assert_alike("killed")
