"""Settings, profiles, the artifact store, the engine and the experiments behind each figure."""

from .candidates import calibrate_protocol
from .engine import missing, run
from .evaluations import (
    C2ST,
    Audit,
    Brackets,
    Calibration,
    Classifier,
    Corrupted,
    Downstream,
    Plane,
    Remark,
    Remeasured,
    SampleElbo,
    WorldBounds,
)
from .experiments import Experiment, Point, classifier_for, likelihood_of, three_gaps
from .grids import GRIDS, latents, limited_k, mixing, mollify, rha, sizes, smoothness, teacher_fractions
from .laboratory import Laboratory, brackets, laboratory, write_brackets, write_laboratory
from .origin import provenance
from .profiles import Profile, load_profile, parse_overrides, profile_names, protocol
from .sensitivity import sensitivity
from .settings import RHA, Artifact, Bank, Data, Gaps, Network, Teacher, VAERun
from .sheet import teacher_sheet
from .stages import load_classifier, load_teacher, load_vae, resolve_data
from .store import Store
from .tables import read_table, tables_folder, write_tables
from .tasks import downstream, without_classes

EXPERIMENTS = {
    "three_gaps": three_gaps,
    "downstream": downstream,
    "sensitivity": sensitivity,
    "calibrate_protocol": calibrate_protocol,
    "teacher_sheet": teacher_sheet,
    **GRIDS,
}

__all__ = [
    "C2ST",
    "EXPERIMENTS",
    "GRIDS",
    "RHA",
    "Artifact",
    "Audit",
    "Bank",
    "Brackets",
    "Calibration",
    "Classifier",
    "Corrupted",
    "Data",
    "Downstream",
    "Experiment",
    "Gaps",
    "Laboratory",
    "Network",
    "Plane",
    "Point",
    "Profile",
    "Remark",
    "Remeasured",
    "SampleElbo",
    "Store",
    "Teacher",
    "VAERun",
    "WorldBounds",
    "brackets",
    "calibrate_protocol",
    "classifier_for",
    "downstream",
    "laboratory",
    "latents",
    "likelihood_of",
    "limited_k",
    "load_classifier",
    "load_profile",
    "load_teacher",
    "load_vae",
    "missing",
    "mixing",
    "mollify",
    "parse_overrides",
    "profile_names",
    "protocol",
    "provenance",
    "read_table",
    "resolve_data",
    "rha",
    "run",
    "sensitivity",
    "sizes",
    "smoothness",
    "tables_folder",
    "teacher_fractions",
    "teacher_sheet",
    "three_gaps",
    "without_classes",
    "write_brackets",
    "write_laboratory",
    "write_tables",
]
