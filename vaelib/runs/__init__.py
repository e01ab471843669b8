"""The frame that makes and keeps: settings, profiles, the artifact store, the engine, experiments and their tables."""

from .engine import missing, run
from .experiments import Experiment, Point, classifier_for, likelihood_of
from .profiles import Profile, load_profile, parse_overrides, protocol
from .settings import RHA, Artifact, Bank, Data, Gaps, Network, Teacher, VAERun
from .stages import load_classifier, load_teacher, load_vae, resolve_data
from .stages.classifier import Classifier
from .store import Store
from .tables import read_table, tables_folder, write_tables

__all__ = [
    "RHA", "Artifact", "Bank", "Classifier", "Data", "Experiment", "Gaps", "Network", "Point", "Profile", "Store",
    "Teacher", "VAERun", "classifier_for", "likelihood_of", "load_classifier", "load_profile", "load_teacher",
    "load_vae", "missing", "parse_overrides", "protocol", "read_table", "resolve_data", "run",
    "tables_folder", "write_tables",
]  # fmt: skip
