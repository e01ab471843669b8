"""Nothing read is run: no unpickling, no extraction outside, no shell, and servers listen on loopback."""

import ast
import gzip
import io
import os
import pickle
import re
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vaelib.data import download, own, sources
from vaelib.data.corruptions import load_official
from vaelib.errors import VaelibError
from vaelib.models.pretrained import load_pretrained
from vaelib.runs.cluster import client_of
from vaelib.runs.store import load_array, load_tensors
from vaelib.samplers.bank import read_shard
from vaelib.samplers.published import open_samples

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "vaelib").rglob("*.py")), *sorted((ROOT / "notebooks").glob("*.py"))]

# --- what the code calls ------------------------------------------------------------------------------------------

UNSAFE = re.compile(
    r"(c?pickle|dill|cloudpickle|joblib|marshal|shelve)\.(loads?|open|Unpickler)|torch\.load|(pd|pandas)\.read_pickle|"
    r"yaml\.(load|unsafe_load|full_load)(_all)?|eval|exec|os\.(system|popen)|.*\.(extractall|extract)|shutil\.unpack_archive"
)
ALLOWED = {"vaelib/data/sources.py": ["pickle.loads"]}  # CIFAR-10's batches, after their MD5 was checked


def unsafe_calls(text: str) -> list[str]:
    """Return the calls that run what they read: by name, NumPy's with pickles allowed or by default, any shell's."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            shell = options.get("shell", "False") != "False"
            numpy = re.fullmatch(r"(np|numpy)\.load", name) and options.get("allow_pickle") != "False"
            if UNSAFE.fullmatch(name) or shell or numpy or options.get("weights_only") == "False":
                found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_what_it_reads(path):
    assert unsafe_calls(path.read_text()) == ALLOWED.get(str(path.relative_to(ROOT)), [])


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(file)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "archive.extractall(folder)",
        "tar.extract(member)",
        "subprocess.run(line, shell=True)",
        "eval(text)",
        "pickle.Unpickler(file)",
    ],
)
def test_the_rule_sees(line):
    assert len(unsafe_calls(line)) == 1


def test_the_rule_lets_safe_readers_pass():
    assert unsafe_calls("vae.eval(); ast.literal_eval(x); yaml.safe_load(t); np.load(p, allow_pickle=False)") == []


# --- what the readers refuse --------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_bomb_goes_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "owned")))
    assert (tmp_path / "owned").exists()


def as_pickle(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb))


def as_npy(path: Path, bomb: Bomb) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([bomb], dtype=object), allow_pickle=True)


def as_npz(path: Path, bomb: Bomb, names=("image", "images", "labels", "train", "test")) -> None:
    with open(path, "wb") as file:
        np.savez(file, **{name: np.array([bomb], dtype=object) for name in names})


def as_pickle_in_zip(path: Path, bomb: Bomb) -> None:
    """The layout of torch.save."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("archive/data.pkl", "image.npy", "images.npy"):
            archive.writestr(name, pickle.dumps(bomb))


def as_gzip(path: Path, bomb: Bomb) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(bomb)))


def corrupted(path: Path):
    folder = path.parent / "CIFAR-10-C"
    folder.mkdir()
    path.rename(folder / "fog.npy")
    return load_official("fog", 5, path.parent)


def diffusers_folder(path: Path):
    folder = path.parent / "model"
    folder.mkdir()
    config = '{"_class_name": "UNet2DModel", "sample_size": 32, "in_channels": 1, "out_channels": 1}'
    (folder / "config.json").write_text(config)
    shutil.copy(path, folder / "diffusion_pytorch_model.safetensors")
    shutil.copy(path, folder / "diffusion_pytorch_model.bin")
    return load_pretrained(folder)


def diffusers_bin(path: Path):
    folder = path.parent / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    path.rename(folder / "diffusion_pytorch_model.bin")
    return load_pretrained(folder)


def idx(path: Path):
    folder = path.parent / "MNIST/raw"
    folder.mkdir(parents=True)
    for name in sources.IDX_MD5["MNIST"]:
        shutil.copy(path, folder / f"{name}.gz")
    return sources.read_idx_folder(folder, "MNIST")


def cifar(path: Path):
    folder = path.parent / sources.CIFAR_FOLDER
    folder.mkdir()
    for name in sources.CIFAR_MD5:
        shutil.copy(path, folder / name)
    return sources.cifar10([path.parent], "original", may_download=False)


READERS = {
    "array of the store": load_array,
    "weights and checkpoints": load_tensors,
    "shard of a bank": read_shard,
    "own .npz": own.npz,
    "named arrays of an .npz": lambda path: own.read_npz(path, "images"),
    "sample set": open_samples,
    "CIFAR-10-C": corrupted,
    "CIFAR-10's batches": cifar,
    "IDX files": idx,
    "diffusers model": diffusers_folder,
    "diffusers model, .bin": diffusers_bin,
}
WRITERS = (as_pickle, as_npy, as_npz, as_pickle_in_zip, as_gzip)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_a_malicious_file_is_refused_in_one_line_and_not_run(tmp_path, reader, write):
    path, owned = tmp_path / "file", tmp_path / "owned"
    write(path, Bomb(owned))
    said, result = "", None
    try:
        result = READERS[reader](path)
    except VaelibError as error:
        said = str(error)
    assert result is None  # a shard that is none is made again, all else is refused
    assert said or reader == "shard of a bank"
    assert "\n" not in said
    assert not owned.exists()


# --- archives -----------------------------------------------------------------------------------------------------


def member(archive: tarfile.TarFile, name: str, content: bytes = b"evil", link: str = "") -> None:
    facts = tarfile.TarInfo(name)
    facts.size, facts.type, facts.linkname = (0, tarfile.SYMTYPE, link) if link else (len(content), tarfile.REGTYPE, "")
    archive.addfile(facts, None if link else io.BytesIO(content))


def deb(path: Path, *members: tuple[str, str]) -> None:
    """Write a Debian package whose data are ``members`` (name, link or nothing), unchecked by any tool."""
    parts = {"debian-binary": b"2.0\n"}
    for part, content in (("control.tar.gz", [("./control", "")]), ("data.tar.gz", members)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, link in content:
                member(archive, name, link=link)
        parts[part] = buffer.getvalue()
    with open(path, "wb") as file:
        file.write(b"!<arch>\n")
        for name, content in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
@pytest.mark.parametrize("kind", ["link to a secret", "link to a folder", "parent", "absolute"])
def test_a_package_reaches_nothing_outside_its_folder(tmp_path, monkeypatch, kind):
    secret = tmp_path / "secret/a"
    secret.parent.mkdir()
    secret.write_text("secret")
    inside = "usr/share/datasets/fashion-mnist"
    members = {
        "link to a secret": [(f"./{inside}/a", str(secret))],
        "link to a folder": [(f"./{inside}", str(secret.parent))],
        "parent": [("./../../../evil", ""), (f"../../..{tmp_path}/evil", "")],
        "absolute": [(f"{tmp_path}/evil", "")],
    }[kind]
    run = download._run

    def fetch(command, cwd, timeout=300.0):
        if command[0] == "dpkg-deb":
            return run(command, cwd, timeout)
        deb(Path(cwd) / "dataset-fashion-mnist_0_all.deb", *members)

    monkeypatch.setattr(download, "_run", fetch)
    with pytest.raises(download.NotReached):
        download.fashion_mnist_from_debian(tmp_path / "cache", ["a"])
    assert not (tmp_path / "cache/a").exists()
    assert not (tmp_path / "evil").exists()
    assert secret.read_text() == "secret"


def test_an_archive_of_images_is_read_in_memory_only(tmp_path):
    archive = tmp_path / "cifar10-jpeg.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        member(tar, "train/../../evil/0.jpg")
        member(tar, "train/a/0.jpg", link="/etc/passwd")
    with pytest.raises(VaelibError):
        sources.cifar10([tmp_path], "jpeg", may_download=False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [archive.name]


# --- names in pages -----------------------------------------------------------------------------------------------

NAME = "<img src=x onerror=alert(1)> *a* |b| `c` $d$ ![e](e)"


def hostile_outputs(folder: Path) -> list[tuple[str, str]]:
    """Return what notebooks show of a data set, teacher and sample set called like markup: (MIME type, text) each."""
    from vaelib.report import escape, pages
    from vaelib.report.claims import OURS, evaluate_claims
    from vaelib.report.explorers.static import Twin
    from vaelib.studies.claims import pages as claim_tables
    from vaelib.studies.downstream.runs import downstream
    from vaelib.studies.sample_quality import pages as sample_figures
    from vaelib.studies.sample_quality.runs import teacher_sheet
    from vaelib.studies.sensitivity.runs import sensitivity
    from vaelib.studies.smoothness.runs import smoothness
    from vaelib.studies.sweeps import pages as sweeps
    from vaelib.studies.sweeps.runs import limited_k, mixing, rha, sizes
    from vaelib.studies.three_gaps.runs import three_gaps

    path = folder / f"{NAME}.npz"
    images = np.random.default_rng(0).integers(0, 255, (4000, 28, 28), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(4000) % 10)
    settings = "smoke", str(path)
    table = pd.DataFrame(
        {"series": ["dmaapx", "normal"], "x": [1.0, np.nan], "elbo_test": [1.0, 0.0], "elbo_train": 2.0}
    )
    table = table.assign(
        dataset=str(path), likelihood="bernoulli", seed=0, n_train=3, elbo_test_se=0.1, elbo_train_se=0.1
    )
    rows = evaluate_claims({"limited_k": table.assign(source=path.name, experiment="limited_k")}, "laptop")
    rows = [row for row in rows if row["dataset"] == str(path)]
    assert {row["evidence"] for row in rows} == {OURS}
    words = [pages.describe(one(*settings)) for one in (three_gaps, downstream, sensitivity)]
    words += [sweeps.describe_sweeps(*(one(*settings) for one in (smoothness, limited_k, mixing, rha, sizes)))]
    words += [sample_figures.describe_samples(teacher_sheet(*settings)), claim_tables.counted(rows)]
    words += [claim_tables.to_be_run([row | {"note": "not run"} for row in rows])]
    tables = [pages.verdicts([row | {"note": NAME} for row in rows]), escape.styled(pd.DataFrame({NAME: {NAME: NAME}}))]
    pictures = [Twin([(NAME, [NAME])], [0], [""], 9, NAME)._repr_html_()]
    shown = [("text/html", text) for text in (*(table.to_html() for table in tables), *pictures)]
    return [("text/markdown", text) for text in words] + shown


def test_names_are_text_in_every_notebooks_outputs(tmp_path):
    for kind, text in hostile_outputs(tmp_path):
        assert "onerror=alert" in text
        assert "<img src=x" not in text
        assert kind == "text/html" or not {"![e]", "*a*", "|b|"} & set(re.findall(r"\S+", text))


def test_tables_and_markdown_go_through_the_escape():
    """So that no table of a later day forgets it: pandas escapes nothing by itself."""
    styles = {str(path.relative_to(ROOT)) for path in SOURCES if re.search(r"\.style\b(?!=)", path.read_text())}
    assert styles == {"vaelib/report/escape.py"}
    made_here = re.compile(
        r"Markdown\((?!\w+\.(describe\w*|machine_note|provenance_note|NOT_THERE|counted|to_be_run|sentences|conclusion|in_markdown))"
    )
    assert [path.name for path in SOURCES if "notebooks" in path.parts and made_here.search(path.read_text())] == []


# --- servers ------------------------------------------------------------------------------------------------------


def listening() -> list[str]:
    """Return the addresses at which this process and its children listen for TCP."""
    import psutil

    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [connection for one in family for connection in one.net_connections("tcp")]
    return [connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN]


def test_dask_listens_on_loopback_only():
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in listening()
    with client_of(1, None) as client:
        addresses = listening()
        assert client.dashboard_link.startswith("http://127.0.0.1:")
    assert len(addresses) >= 3  # scheduler, its dashboard, the worker
    assert set(addresses) <= {"127.0.0.1", "::1"}


def test_jupyter_listens_on_loopback():
    from jupyter_server.serverapp import ServerApp

    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    assert "jupyter lab" in recipe
    assert not re.search(r"--ip|token|password|0\.0\.0\.0", recipe)  # --allow-root lets nobody in who was not in before
    assert ServerApp.ip.default_value == "localhost"
