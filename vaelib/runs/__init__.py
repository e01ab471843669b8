"""The frame that makes and keeps: settings, profiles, the artifact store, the engine, experiments and their tables."""

from .engine import missing, run
from .experiments import Experiment, Point, likelihood_of
from .profiles import Profile, load_profile, parse_overrides, protocol
from .settings import RHA, Bank, Data, Gaps, Network, Teacher, VAERun
from .stages import load_classifier, load_vae, resolve_data
from .store import Store
from .tables import read_table, tables_folder, write_tables

__all__ = [
    "RHA", "Bank", "Data", "Experiment", "Gaps", "Network", "Point", "Profile", "Store", "Teacher", "VAERun",
    "likelihood_of", "load_classifier", "load_profile", "load_vae", "missing", "parse_overrides", "protocol", "read_table",
    "resolve_data", "run", "tables_folder", "write_tables",
]  # fmt: skip
