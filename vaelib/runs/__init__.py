"""Settings, profiles, the artifact store, the engine and the experiments behind each figure."""

from .engine import missing, run
from .experiments import EXPERIMENTS, Experiment, three_gaps
from .profiles import Profile, load_profile, parse_overrides, profile_names, protocol
from .settings import Artifact, Bank, Data, Gaps, Network, Teacher, VAERun
from .stages import load_teacher, load_vae, resolve_data
from .store import Store, provenance
from .tables import read_table, tables_folder, write_tables

__all__ = [
    "EXPERIMENTS",
    "Artifact",
    "Bank",
    "Data",
    "Experiment",
    "Gaps",
    "Network",
    "Profile",
    "Store",
    "Teacher",
    "VAERun",
    "load_profile",
    "load_teacher",
    "load_vae",
    "missing",
    "parse_overrides",
    "profile_names",
    "protocol",
    "provenance",
    "read_table",
    "resolve_data",
    "run",
    "tables_folder",
    "three_gaps",
    "write_tables",
]
