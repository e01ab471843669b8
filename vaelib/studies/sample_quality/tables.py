"""Tables of the teacher's samples: ``c2st.csv``, ``teacher_sheet.csv`` and ``sampling_cost.csv``."""

import pandas as pd

from ...files import read_json
from ...runs.cost.price import hardware
from ...runs.cost.work import work
from ...runs.experiments import Experiment
from ...runs.settings import Samples, Teacher
from ...runs.store import Store
from ...runs.tables import SETTING, about_data
from .stages import C2ST, Audit, SampleElbo

KS = (1, 10, 1000)  # of Appendix D.2


def audit_of(experiment: Experiment) -> Audit:
    """Return the experiment's audit."""
    return next(point.run for point in experiment.points if isinstance(point.run, Audit))


def audit_table_of(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return the audit, long: ``images`` (real, teacher, noise), ``quantity, value``, see :mod:`vaelib.tasks.audit`.

    ``elbo`` and ``elbo_median`` are in nats per image, under a VAE of normal training.
    """
    audit = audit_of(experiment)
    rows = read_json(store.require(audit) / "measured.json")
    scores = read_json(store.require(audit.classifier) / "scores.json")
    for point in experiment.points:
        if isinstance(point.run, SampleElbo):
            rows += read_json(store.require(point.run) / "measured.json")
    rows.append({"images": "real", "quantity": "classifier_accuracy", "value": scores["accuracy"]})
    fixed = experiment.setting | {"seed": audit.seed}
    return pd.DataFrame([fixed | row | about_data(experiment.data) | {"key": audit.key} for row in rows])


def cost_table(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return what k·N samples cost (Appendix D.2): ``k, images, bytes, seconds, seconds_a100, images_per_second``.

    ``seconds`` are of one core or GPU, in proportion to what the bank at hand took; ``seconds_a100`` is a forecast from
    FLOPs. ``k`` = 0 is the teacher's own training, as far as its manifest tells. Samples of others have cost us nothing;
    what a bank cost that was deleted is not known.
    """
    bank = audit_of(experiment).bank
    columns = [*SETTING, "k", "images", "bytes", "seconds", "seconds_a100", "images_per_second", "device"]
    if isinstance(bank, Samples) or not store.has_manifest(bank):  # deleted once the audit was there
        return pd.DataFrame(columns=[*columns, *about_data(experiment.data), "key"])
    manifest, data, a100 = store.manifest(bank), experiment.data, hardware("a100")
    rate, rows = bank.size / max(manifest["seconds"], 0.01), []
    for k in KS:
        n = k * data.n_train
        row = {"k": k, "images": n, "bytes": n * 1024 * data.channels, "seconds": n / rate}
        row["seconds_a100"] = a100.seconds(work(bank.model_copy(update={"size": n})))
        rows.append(row | {"images_per_second": rate})
    if isinstance(bank.teacher, Teacher) and store.has_manifest(bank.teacher):
        seconds = store.manifest(bank.teacher)["seconds"]
        trained = {"k": 0, "images": bank.teacher.images, "bytes": 0, "seconds": seconds}
        rate = trained["images"] / max(trained["seconds"], 0.01)
        rows.append(trained | {"seconds_a100": a100.seconds(work(bank.teacher)), "images_per_second": rate})
    about = about_data(experiment.data) | {"key": bank.key}
    return pd.DataFrame([experiment.setting | row | {"device": manifest["code"]["device"]} | about for row in rows])


def quality_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return the three tables by name.

    ``c2st`` has a row a two-sample test: series, x (percent of D_train that the teacher saw), seed, accuracy and its null.
    """
    tests = []
    for point in (point for point in experiment.points if isinstance(point.run, C2ST)):
        place = {"series": point.series, "x": point.x, "seed": point.subject.seed, "network": point.run.network}
        found = read_json(store.require(point.run) / "c2st.json")
        tests.append(experiment.setting | place | found | about_data(experiment.data) | {"key": point.run.key})
    return {
        "c2st": pd.DataFrame(tests),
        "teacher_sheet": audit_table_of(experiment, store),
        "sampling_cost": cost_table(experiment, store),
    }
