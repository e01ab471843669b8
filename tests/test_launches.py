"""What a GPU would have to wait for, counted without one: operations a step, and values that Python asks a device for.

Three stand-ins, since PyTorch's fake CUDA has no backward pass where there is no GPU: a step on the CPU, whose operations are
counted; a forward pass on fake CUDA, where every copy between devices is seen; meta tensors, which have no values to be asked for.
"""

import contextlib
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vaelib.data import NAIVE
from vaelib.data.augment import TUNED_CIFAR
from vaelib.models import Bernoulli, FullyConnectedVAE, Gaussian, MixtureOfLogistics, ResidualVAE
from vaelib.models.denoiser import build_denoiser, edm_loss, noise_levels
from vaelib.modes import compile_in_place, evaluating
from vaelib.precision import hold_in_bfloat16
from vaelib.runs import Bank, Store, Teacher, load_profile, resolve_data, run
from vaelib.runs.experiments import teacher_for
from vaelib.runs.stages import diffusion
from vaelib.training import TrainingDistribution, VAEState, train_vae
from vaelib.training import vae as training
from vaelib.training.diffusion import train_denoiser
from vaelib.training.distributions import MixedDistribution
from vaelib.training.mollify import Mollified, Mollify
from vaelib.training.regularise import Regulariser
from vaelib.training.rha import SOURCES, HalfAsleep

ATEN = torch.ops.aten
# The most operations a step are what it takes with PyTorch 2.14 and three to spare, in float32.
WAITS = {ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN.equal, ATEN._unique2}  # on a GPU


class Watched(TorchDispatchMode):
    """Counts the operations inside that a GPU would be started for, and names those that Python would wait for."""

    def __init__(self):
        super().__init__()
        self.operations, self.waits = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += not function.is_view
        came, went = (
            {leaf.device.type for leaf in tree_leaves(one) if isinstance(leaf, torch.Tensor)}
            for one in ([args, kwargs], result)
        )
        copied = function.overloadpacket in (ATEN._to_copy, ATEN.copy_, ATEN.lift_fresh_copy) and came | went == {
            "cpu",
            "cuda",
        }
        if function.overloadpacket in WAITS or (copied and not ("cuda" in went and (kwargs or {}).get("non_blocking"))):
            self.waits.append(str(function))
        return result


def images(n=64, channels=1):
    return torch.randint(0, 256, (n, channels, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def a_step_more(run):
    """Return how many operations ``run(steps)`` takes for a step more, and all waits of the longer run but those of the shorter."""
    counts = []
    for steps in (2, 3):
        with Watched() as watched:
            run(steps)
        counts.append(watched)
    short, long = counts
    return long.operations - short.operations, len(long.waits) - len(short.waits)


def vae_steps(vae, amp):
    """Run an epoch of so many steps, each a batch of 16."""

    def run(steps):
        stream = TrainingDistribution(images(16 * steps, vae.channels), 16 * steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            list(train_vae(VAEState(vae), stream, epochs=1, batch_size=16, amp=False))

    return run


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: FullyConnectedVAE(hidden=32), 93),
        (lambda: FullyConnectedVAE(hidden=32, likelihood=Bernoulli()), 89),
        (lambda: ResidualVAE(4, 1, 1, Gaussian()), 195),
    ],
    ids=["fc", "fc-bernoulli", "residual"],
)
def test_a_vaes_step_takes_no_more_operations_and_waits_for_none(make, most):
    found, waits = a_step_more(vae_steps(make(), amp=False))
    print(f"{found} operations a step")
    assert found <= most
    assert waits == 0


def teacher(amp=False):
    torch.manual_seed(0)
    return build_denoiser(1, width=16, multipliers=(1, 1), blocks=1, attention=(), space_to_depth=4, amp=amp)


def test_a_teachers_step_takes_no_more_operations_and_waits_for_none():
    def run(steps):
        options = {"n_images": 8 * steps, "batch_size": 8, "lr_rampup": 0, "report_every": 800, "amp": False}
        list(train_denoiser(teacher(), images(), **options))

    found, waits = a_step_more(run)
    print(f"{found} operations a step")
    assert found <= 348
    assert waits == 0


@pytest.mark.parametrize("rgb", ["pixelcnnpp", "per_channel", "zhang2022"])
@pytest.mark.parametrize("make", [FullyConnectedVAE, lambda **options: ResidualVAE(4, 1, **options)])
def test_a_forward_pass_copies_nothing_between_devices(make, rgb):
    with FakeTensorMode():
        with torch.device("cuda"):
            vae = make(channels=3, likelihood=MixtureOfLogistics(2, rgb=rgb))
            x, eps = torch.rand(16, 3, 32, 32), torch.randn(16, vae.d_z)
        with Watched() as watched:
            vae(x, eps).mean()
    assert watched.waits == []


def test_a_teachers_loss_copies_nothing_between_devices():
    with FakeTensorMode():
        with torch.device("cuda"):
            denoiser, y, draws = teacher(), torch.rand(8, 1, 32, 32), torch.randn(8)
        with Watched() as watched:
            edm_loss(denoiser, y, noise_levels(draws), torch.randn_like(y)).mean()
    assert watched.waits == []


def test_a_shuffled_pool_sends_its_order_without_waiting():
    """Over two passes of 50 images: neither the order of a pass nor a batch is waited for."""
    with FakeTensorMode():
        with torch.device("cuda"):
            pool = torch.zeros(50, 1, 32, 32, dtype=torch.uint8)
        stream = TrainingDistribution(pool, 50)
        with Watched() as watched:
            for step in range(12):
                stream.batch(step, 8)
    assert watched.waits == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "likelihood", [Gaussian(), Bernoulli(), MixtureOfLogistics(2)], ids=lambda one: type(one).__name__
)
def test_what_the_studies_train_on_and_maximise_is_sent_without_waiting(likelihood, channels):
    """Mollified images, samples of the VAE's own decoder, mixtures; dropout's masks and noise on the encoder's images."""
    with FakeTensorMode():
        with torch.device("cuda"):
            pool = torch.zeros(50, channels, 32, 32, dtype=torch.uint8)
            vae = FullyConnectedVAE(hidden=32, channels=channels, likelihood=likelihood)
            x, eps = torch.rand(8, channels, 32, 32), torch.randn(8, vae.d_z)
        real = TrainingDistribution(pool, 50)
        streams = [Mollified(real, Mollify(), epochs=4, clip=clip) for clip in (False, True)]
        streams += [HalfAsleep(vae, real, source=source) for source in SOURCES]
        streams += [MixedDistribution(real, TrainingDistribution(pool, 50), 0.5)]
        remedies = [Regulariser(dropout=0.1), Regulariser(denoising=0.1), Regulariser(kl_warmup=0.5)]
        with Watched() as watched:
            assert all(stream.batch(step, 8).device.type == "cuda" for stream in streams for step in range(3))
            for remedy in remedies:
                remedy.objective(vae, x, eps, remedy.draws(x, eps, 0, 0.1, remedy.units(vae, x)))
    assert watched.operations > 0
    assert watched.waits == []


@pytest.mark.parametrize("channels", [1, 3])
def test_autocast_rounds_no_image_of_the_consistency_regulariser(monkeypatch, channels):
    """Its transform is of float32 images; a GPU's autocast would not even take its halves together."""
    seen = []
    regulariser = Regulariser(consistency=0.1, transform=NAIVE)
    apply = type(regulariser.transform).apply

    def watched(self, x, generator):
        seen.append(apply(self, x, generator))
        return seen[-1]

    monkeypatch.setattr(type(regulariser.transform), "apply", watched)
    vae, x = FullyConnectedVAE(hidden=8, d_z=2, channels=channels), images(8, channels).float() / 255
    for amp in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            regulariser.objective(vae, x, torch.zeros(8, 2), regulariser.draws(x, torch.zeros(8, 2), 0, 0.0))
    plain, cast = seen
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


def test_probabilities_are_scored_under_a_gpus_autocast():
    """CUDA's autocast refuses the cross entropy of probabilities, which `Bernoulli("probabilities")` asks for outside of it."""
    likelihood = Bernoulli("probabilities")
    with FakeTensorMode():
        with torch.device("cuda"):
            p, x = torch.rand(4, 1, 8, 8, dtype=torch.bfloat16), torch.rand(4, 1, 8, 8)
        enabled = torch.is_autocast_enabled("cuda")
        torch.set_autocast_enabled("cuda", True)  # `torch.autocast` itself would switch it off without a GPU
        try:
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                torch.nn.functional.binary_cross_entropy(p, x)
            assert likelihood.log_prob(p, x).shape == (4,)
        finally:
            torch.set_autocast_enabled("cuda", enabled)


class Taped(TorchDispatchMode):
    """A CUDA graph on the CPU: notes the operations inside, and repeats them on the same memory."""

    def __init__(self):
        super().__init__()
        self.tape = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.tape.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, result in self.tape:
            for old, new in zip(tree_leaves(result), tree_leaves(function(*args, **kwargs)), strict=True):
                # What works in place has given the same memory again.
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Stubs:
    """What of torch.cuda the capture of a step asks for, noting the streams; ``fails``: the capture finds a wait."""

    def __init__(self, monkeypatch, fails=False):
        self.warmed, self.captured, self.current, stubs = [], [], "default", self

        class Stream:
            def __init__(self):
                self.number = object()

            def wait_stream(self, other):
                pass

        @contextlib.contextmanager
        def stream(one):
            before, stubs.current = stubs.current, one
            try:
                yield
            finally:
                stubs.current = before

        @contextlib.contextmanager
        def graph(graph, stream=None, capture_error_mode=""):
            stubs.captured.append(stream)
            stubs.current = stream  # as where the end of an invalid capture raises
            if fails:
                raise RuntimeError("operation not permitted when stream is capturing")
            with graph:
                yield

        default = Stream()
        self.current = default
        for name, one in {
            "Stream": Stream, "CUDAGraph": Taped, "stream": stream, "graph": graph,
            "device": lambda device: contextlib.nullcontext(), "current_stream": lambda device=None: stubs.current,
            "synchronize": lambda device=None: None,
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, one)
        self.default = default


def test_a_step_is_captured_on_the_stream_it_was_warmed_up_on_and_leaves_no_trace(monkeypatch):
    stubs, vae = Stubs(monkeypatch), FullyConnectedVAE(hidden=8, d_z=2)
    state = VAEState(vae)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    ran_on = []

    def objective(x, eps):
        ran_on.append(stubs.current)
        return vae(x, eps).mean()

    training._Captured(state, objective, [torch.rand(4, 1, 32, 32), torch.zeros(4, 2)])
    assert len(ran_on) == 4  # three times to warm up, once captured
    assert ran_on == [stubs.captured[0]] * 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())
    assert stubs.current is stubs.default


def test_a_step_that_cannot_be_captured_runs_uncaptured_with_the_same_numbers(monkeypatch, capsys):
    pool = TrainingDistribution(images(16), 16)

    def trained():
        torch.manual_seed(0)
        state = VAEState(FullyConnectedVAE(hidden=8, d_z=2))
        return [epoch.elbo for epoch in train_vae(state, pool, epochs=2, batch_size=8, amp=False)]

    expected = trained()
    Stubs(monkeypatch, fails=True)
    monkeypatch.setattr(training, "CAPTURED_ON", ("cpu",))
    assert trained() == expected
    assert capsys.readouterr().out.count("this VAE's step runs uncaptured, which changes its speed alone") == 1


REMEDIES = {
    "plain": None,
    "dropout": Regulariser(dropout=0.3),
    "denoising": Regulariser(denoising=0.2),
    "consistency": Regulariser(consistency=0.5, transform=NAIVE),
    "kl_warmup": Regulariser(kl_warmup=0.7),
    "all": Regulariser(dropout=0.2, denoising=0.1, consistency=0.1, kl_warmup=1.0, transform=NAIVE),
}


@pytest.mark.parametrize("remedy", REMEDIES)
@pytest.mark.parametrize(
    "make",
    [
        partial(FullyConnectedVAE, 2, 8),
        partial(ResidualVAE, 4, 1),
        partial(FullyConnectedVAE, 2, 8, 3, MixtureOfLogistics(2)),
    ],
    ids=["fc", "residual", "mixture"],
)
def test_a_replayed_step_is_the_eager_one_bit_for_bit(monkeypatch, make, remedy):
    """Nothing that changes with the step is part of what was captured: batch, noise, masks, the KL's weight, transformed images."""
    capture, replayed = training._Captured, []

    class Captured(capture):
        def __call__(self, inputs, rate):
            replayed.append(len(inputs))
            return super().__call__(inputs, rate)

    def trained():
        torch.manual_seed(0)
        state = VAEState(make(), weight_decay=0.1)
        options = {"epochs": 3, "batch_size": 8, "amp": False, "regulariser": REMEDIES[remedy]}
        list(train_vae(state, TrainingDistribution(images(16, state.vae.channels), 16), **options))
        return {name: tensor.clone() for name, tensor in state.tensors().items()}

    expected = trained()
    Stubs(monkeypatch)
    monkeypatch.setattr(training, "CAPTURED_ON", ("cpu",))
    monkeypatch.setattr(training, "_Captured", Captured)
    found = trained()
    assert len(replayed) == 6
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("method", [NAIVE, TUNED_CIFAR])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_asks_a_device_for_no_value(method, channels):
    x = torch.rand(64, channels, 32, 32, device="meta")
    augmented = method.apply(x, torch.Generator().manual_seed(0))
    assert (augmented.device.type, augmented.shape) == ("meta", x.shape)


def test_what_waits_is_seen():
    x = torch.rand(3)
    with Watched() as watched:
        float(x.sum())
        x.nonzero()
    assert watched.waits == ["aten._local_scalar_dense.default", "aten.nonzero.default"]
    with FakeTensorMode(), torch.device("cuda"), Watched() as watched:
        torch.zeros(3).cpu()
        torch.zeros(3, device="cpu").to("cuda")
        torch.zeros(3, device="cpu").to("cuda", non_blocking=True)
    assert len(watched.waits) == 2


def tf32():
    """Return whether products and convolutions may be TF32; PyTorch 2.9 has other names for it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return matmul.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"
    return matmul.allow_tf32, cudnn.allow_tf32


def learnt(net):
    """Give a network weights that are not those of its beginning, which would make its output zero."""
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


def denoised(net):
    x = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with evaluating(net), Watched() as watched:
        return net(x, torch.ones(4)), watched.operations


def test_weights_held_in_bfloat16_give_the_same_bits_and_are_cast_no_more(monkeypatch):
    monkeypatch.setattr("vaelib.models.denoiser.bf16_pays", lambda device: True)
    net = learnt(teacher(amp=True))
    expected, before = denoised(net)
    hold_in_bfloat16(net)
    found, after = denoised(net)
    assert torch.equal(found, expected)
    assert expected.std() > 0.1
    layers = [part for part in net.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)]
    assert before - after >= 2 * len(layers)  # a weight and a bias each


def test_the_gpu_profiles_teacher_leaves_room_on_a_card_of_24_gb(monkeypatch, toy):
    """What a pass keeps for its gradient, counted on the CPU, with weights, average, gradients and Adam's moments in float32."""
    monkeypatch.setattr("vaelib.models.denoiser.bf16_pays", lambda device: True)
    chosen = teacher_for(resolve_data(toy, n_train=40, n_test=16), load_profile("gpu"))
    net, kept = diffusion.build_teacher(chosen), {}
    weights = {one.untyped_storage().data_ptr() for one in net.parameters()}

    def keep(tensor):
        if tensor.shape[:1] == (1,) and (storage := tensor.untyped_storage()).data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        edm_loss(net, torch.zeros(1, 1, 32, 32), torch.ones(1), torch.zeros(1, 1, 32, 32)).mean()
    parameters = sum(one.numel() for one in net.parameters())
    print(f"{sum(kept.values()) / 1e6:.1f} MB an image")
    assert sum(kept.values()) * (chosen.microbatch or chosen.batch_size) + 5 * 4 * parameters < 5e9


@pytest.fixture
def nothing_compiled():
    """Make PyTorch forget what it has compiled: older versions take a compiler for a dead one that lay at the same address."""
    torch._dynamo.reset()


class Backend:
    """A compiler that counts what it is given, and leaves it as it is."""

    def __init__(self):
        self.graphs, self.sizes = 0, []

    def __call__(self, graph, examples):
        self.graphs += 1
        self.sizes += [size for one in examples if isinstance(one, torch.Tensor) for size in one.shape]
        return graph.forward


def test_a_network_is_compiled_once_for_all_teachers_and_keeps_names_and_numbers(nothing_compiled):
    backend, plain = Backend(), learnt(teacher())
    expected, _ = denoised(plain)
    x = torch.zeros(4, 1, 32, 32)
    for _ in range(2):
        net = teacher().eval()
        with evaluating(net):
            assert compile_in_place(net.network, partial(net, x, torch.ones(4)), backend)
        net.load_state_dict(plain.state_dict())
        assert torch.equal(denoised(net)[0], expected)
    assert backend.graphs == 1
    state = torch.random.get_rng_state()
    compile_in_place(plain.network, lambda: torch.rand(3), backend)
    assert torch.equal(state, torch.random.get_rng_state())


def test_no_compiled_code_depends_on_the_batch_sizes_that_came_before(nothing_compiled):
    """A worker trains in passes of one size and samples in batches of another; code for any size would round otherwise."""
    backend, net = Backend(), learnt(teacher())
    for size in (4, 3, 4):
        x = torch.zeros(size, 1, 32, 32)
        with evaluating(net):
            assert compile_in_place(net.network, partial(net, x, torch.ones(size)), backend)
    assert backend.graphs == 2
    assert {type(size) for size in backend.sizes} == {int}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_a_compiled_network_leaves_out_the_units_that_it_would_leave_out_uncompiled(nothing_compiled):
    """Or with a compiler and without, two machines would train other teachers."""
    net, x = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Dropout(0.5)), torch.ones(4, 8)

    def dropped():
        torch.manual_seed(0)
        return net(x) == 0

    expected = dropped()
    assert compile_in_place(net, partial(net, x))
    assert torch.equal(dropped(), expected)


def test_where_no_compiler_is_a_line_says_so_and_the_network_works(nothing_compiled, capsys):
    def broken(graph, examples):
        raise RuntimeError("no C compiler found")

    net = learnt(teacher())
    expected, _ = denoised(net)
    assert not compile_in_place(net.network, partial(net, torch.zeros(4, 1, 32, 32), torch.ones(4)), broken)
    assert "the network is not compiled, which changes its speed alone" in capsys.readouterr().out
    assert torch.equal(denoised(net)[0], expected)


def test_of_teachers_edms_are_compiled_on_a_gpu():
    here = {kind: SimpleNamespace(device=torch.device(kind)) for kind in ("cpu", "cuda")}
    edm, small = (Teacher.model_construct(network=name) for name in ("edm", "small"))
    chosen = [(name.network, kind) for name in (edm, small) for kind in here if diffusion.compiles(name, here[kind])]
    assert chosen == [("edm", "cuda")]


def test_a_compiled_teacher_and_its_bank_are_made_as_others_are(nothing_compiled, monkeypatch, toy, tmp_path):
    """With a compiler that changes nothing, the bits are those of a network that was not compiled."""
    data, backend = resolve_data(toy, n_train=40, n_test=16), Backend()
    small = {"network": "small", "width": 16, "images": 40, "batch_size": 20, "microbatch": 10}
    bank = Bank(teacher=Teacher(data=data, **small), size=20, shard_size=10, batch_size=10, sampler="heun", steps=2)

    def made(folder):
        store = Store(tmp_path / folder)
        run([bank], store=store, workers=0)
        return [path.read_bytes() for path in sorted(store.folder(bank).glob("shard-*.npy"))]

    expected = made("plain")
    monkeypatch.setattr(diffusion, "compiles", lambda teacher, context: True)
    monkeypatch.setattr(diffusion, "compile_in_place", partial(compile_in_place, backend=backend))
    assert made("compiled") == expected
    assert len(expected) == 2
    assert backend.graphs == 2  # training and sampling


def test_what_is_measured_is_measured_in_float32():
    """TF32 is off inside, whatever it was before, and given back after a failure too."""
    before, inside = tf32(), []

    def fails():
        with evaluating(FullyConnectedVAE(hidden=4)):
            inside.append(tf32())
            raise KeyError

    assert before[1]
    with pytest.raises(KeyError):
        fails()
    assert inside == [(False, False)]
    assert tf32() == before
