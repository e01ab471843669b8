"""The quality of the teacher's samples: two-sample tests of its samples, their ELBO, and the audit of its bank (Appendix D)."""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ... import files, gaps, rng
from ...runs.cost.work import CLASSIFIED, COMPARED, PIXELS, Work, vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, Bank, Data, Samples, VAERun
from ...runs.stages.classifier import Classifier, follow_fit, labelled_images, load_classifier
from ...runs.stages.context import Context
from ...runs.stages.vae import load_vae, mean_and_error
from ...runs.store import save_tensors
from ...samplers.bank import Bank as BankImages
from ...tasks import audit, build_network, c2st, logits_of, proxy_quality


class C2ST(Artifact):
    """A network that learns to tell samples from real images and is tested on others (App. D.3, whose values are default).

    It learns from real images *beside* D_train and is tested on D_test, so that a teacher has seen none of them. With
    ``images`` = 0, where too few are left beside D_train, it learns from D_train itself.
    """

    kind: ClassVar[str] = "c2st"
    data: Data
    bank: Bank | Samples | None = Field(None, description="None: two halves of real images, the control")
    images: int = Field(0, ge=0, description="real images beside D_train to learn from; 0: D_train")
    tested: int = Field(10_000, ge=1, description="held-out images of each kind")
    network: Literal["small", "resnet18"] = "resnet18"
    epochs: int = Field(14, ge=1)
    batch_size: int = Field(256, ge=2)
    lr: float = Field(1e-3, gt=0)
    decay: bool = Field(False, description="let lr fall linearly to 0")
    seed: int = 0


class Audit(Artifact):
    """A bank searched for copies, classified and scored against the data that its teacher learned from."""

    kind: ClassVar[str] = "audit"
    version: ClassVar[int] = 3  # a reference for leaning; precision and recall from one kind of distances
    data: Data
    bank: Bank | Samples
    classifier: Classifier
    images: int = Field(50_000, ge=2, description="of the bank, at most")
    seed: int = 0


class SampleElbo(Artifact):
    """The ELBO of a bank's samples under a VAE trained on real images, beside that of test images (cf. Fig. 13).

    A sharp and cheap measure of samples: an artefact of the sampler that no eye sees costs hundreds of nats.
    """

    kind: ClassVar[str] = "sample_elbo"
    vae: VAERun
    bank: Bank | Samples
    images: int = Field(2_000, ge=2, description="of each kind, at most")

    @model_validator(mode="after")
    def _judged_by_real_images(self) -> "SampleElbo":
        if self.vae.method != "normal":
            raise ValueError(f"samples are judged by normal training, not by method {self.vae.method}; give such a VAE")
        return self


RESNET_MACS = 556_000_000  # of ResNet-18 at 32 px without the early halving


def _two_samples(settings: C2ST, context: Context) -> list[tuple[Tensor, Tensor]]:
    """Return (training, held-out) images of the real kind and of the other; no image is in two of the four."""
    real, _ = labelled_images(settings.data, settings.images, context)
    test, seed, tested = context.split(settings.data, "test"), settings.seed, settings.tested
    if settings.bank is None:  # the control: two halves of real images
        n = len(real) // 2
        learn, held_out = c2st.split_sets(real, n, n, seed, "real"), c2st.split_sets(test, tested, tested, seed, "test")
        return list(zip(learn, held_out, strict=True))
    bank = BankImages(context.store.require(settings.bank))
    n = min(len(real), len(bank) - tested)
    learn, _ = c2st.split_sets(real, n, 0, seed, "real")
    held_out, _ = c2st.split_sets(test, tested, 0, seed, "test")
    return [(learn, held_out), c2st.split_sets(bank, n, tested, seed, "bank")]


def c2st_work(test: C2ST) -> Work:
    real = test.images or test.data.n_train
    seen = test.epochs * (
        2 * min(real, test.bank.size - test.tested) if test.bank else real
    )  # the control halves the real ones
    if test.network == "small":
        return Work(core=seen / CLASSIFIED)
    return Work(training=6 * RESNET_MACS * seen, kernels=seen / test.batch_size * 600)


@makes(C2ST, work=c2st_work)
def make_c2st(settings: C2ST, context: Context) -> None:
    """Train the discriminator, test it; write ``c2st.json``."""
    (real, held_out), (other, held_out_other) = _two_samples(settings, context)
    images, labels = c2st.labelled(real.cpu(), other.cpu())
    network = build_network(settings.network, settings.data.channels, 2, settings.seed).to(context.device)
    follow_fit(network, images, labels, context, settings.epochs, **settings.only("batch_size lr decay seed"))
    found = c2st.two_sample_test(network, held_out.cpu(), held_out_other.cpu())
    files.write_json(context.folder / "c2st.json", found._asdict() | {"learned_from": len(real)})


@makes(SampleElbo, work=lambda run: vae_work(run.vae, 2 * run.images, 2 * run.images, 0))
def make_sample_elbo(settings: SampleElbo, context: Context) -> None:
    """Score test images and samples under the VAE; write ``measured.json``."""
    vae = load_vae(settings.vae, context.store, device=context.device)
    test, bank = context.split(settings.vae.data, "test"), BankImages(context.store.require(settings.bank))
    n = min(settings.images, len(test), len(bank))
    rows = []
    for kind, images in {"real": test[:n], "teacher": bank.images(0, n).to(context.device)}.items():
        values = gaps.evaluate_elbo(vae, images)
        value, se = mean_and_error(values)
        rows.append({"images": kind, "quantity": "elbo", "value": value, "se": se})
        rows.append({"images": kind, "quantity": "elbo_median", "value": float(values.median())})
    files.write_json(context.folder / "measured.json", rows)


def _quality(kinds: dict[str, Tensor], reference: Tensor, classifier: Any) -> list[dict[str, Any]]:
    rows = []
    for kind, images in kinds.items():
        found = proxy_quality(classifier, reference, images)
        scores = {"proxy_fid": found.proxy_fid, "proxy_is": found.proxy_is}
        scores |= {"proxy_precision": found.precision, "proxy_recall": found.recall, "proxy_images": found.images}
        rows += [{"images": kind, "quantity": name, "value": value} for name, value in scores.items()]
    return rows


def audit_work(audit: Audit) -> Work:
    pairs = min(audit.images, audit.bank.size) * (2 * audit.data.n_train + 3 * audit.data.n_test)
    return Work(core=5 + pairs * PIXELS * audit.data.channels / COMPARED)


@makes(Audit, work=audit_work)
def make_audit(settings: Audit, context: Context) -> None:
    """Search, classify and score the bank; write ``measured.json`` and the distances and indices of the neighbours."""
    train, test = (context.split(settings.data, name) for name in ("train", "test"))
    bank = BankImages(context.store.require(settings.bank)).images(0, min(settings.images, settings.bank.size))
    bank = bank.to(context.device)
    found = audit.neighbours(bank, train, test)
    context.report(0.4, "neighbours")
    rows = [{"images": "teacher", "quantity": name, "value": value} for name, value in audit.summary(found).items()]
    tensors = {name: tensor.cpu() for name, tensor in found._asdict().items() if isinstance(tensor, Tensor)}
    save_tensors(context.folder / "neighbours.safetensors", tensors, {})
    classifier = load_classifier(settings.classifier, context.store, context.device)
    n = min(len(test) // 2, len(bank))  # of each kind: the scores depend on the number
    order = torch.randperm(len(test), generator=rng.generator(settings.seed, "audit")).to(test.device)
    noise = torch.randint(
        0, 256, bank[:n].shape, dtype=torch.uint8, generator=rng.generator(settings.seed, "audit", "noise")
    )
    kinds = {"real": test[order[n : 2 * n]], "teacher": bank[:n], "noise": noise.to(test.device)}
    rows += _quality(kinds, test[order[:n]], classifier)
    context.report(0.8, "proxies")
    shares = {}
    for kind, images in {"real": test, "teacher": bank}.items():
        shares[kind] = audit.class_shares(logits_of(classifier, images).argmax(1), classifier.classes)
        rows += [{"images": kind, "quantity": f"class_{i}", "value": share} for i, share in enumerate(shares[kind])]
        for value in (0, 255):
            rows.append({"images": kind, "quantity": f"pixels_{value}", "value": audit.share_of(images, value)})
    balance = audit.total_variation(*shares.values())
    rows.append({"images": "teacher", "quantity": "class_distance", "value": balance})
    files.write_json(context.folder / "measured.json", rows)
