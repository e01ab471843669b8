# Called by `make setup`: installs everything into the environment of $PYTHON, and says what it is doing. With TORCH=cpu, torch's
# CPU build; the environment remembers it (in $READY).
set -euo pipefail

environment=${PYTHON%/bin/python}
TORCH=${TORCH:-$(cat "$READY" 2> /dev/null || true)}
if [[ ! $TORCH =~ ^(cpu)?$ ]]; then
  echo "TORCH = '$TORCH' is unknown; choose cpu, or leave it out for the build that the Python package index has"
  exit 1
fi
using=$PYTHON
[ -x "$using" ] || using=python3
found=$("$using" -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.version_info >= (3, 11))' 2>&1) || found="no Python"
if [[ $found != *True ]]; then
  echo "Python 3.11 or newer is needed; $using is ${found% False}. Activate an environment that has it (conda env create -f" \
    "environment.yml makes one), or deactivate this one and put such a python3 first in PATH."
  exit 1
fi
[ -x "$PYTHON" ] || { echo "making $environment"; python3 -m venv "$environment"; }

mkdir -p "$VAELIB_BUILD/logs"
log=$VAELIB_BUILD/logs/setup.log
: > "$log"

# A new .venv gets the versions that were tested. An environment of one's own may hold other work, so that nothing in it is
# replaced that pyproject.toml allows. No hashes in the lock: torch's CPU build and the wheels of clusters have others.
tested="-c requirements.lock"
if [ ! "$environment" -ef .venv ]; then
  tested=
  echo "$environment is yours: what it has is kept. For the versions that were tested: pip install -c requirements.lock -e '.[all]'"
fi
size="about 7 GB on Linux, most of it torch's CUDA build; make setup TORCH=cpu: 2 GB"

# uv where it is there, for it takes a fraction of the time; torch's CPU build needs it, for it knows where that is.
uv=$(command -v uv || command -v "$environment/bin/uv" || true)
if [ -n "$TORCH" ]; then
  size="about 2 GB, with torch's CPU build"
  has=$("$PYTHON" -c 'from importlib.metadata import version; print(version("torch"))' 2> /dev/null) || has=
  if [ -n "$has" ] && [[ $has != *+$TORCH ]]; then
    echo "TORCH=$TORCH is for a new environment, and $environment has torch $has already: delete or deactivate it, and say it again"
    exit 1
  fi
  if [ -z "$uv" ]; then
    "$PYTHON" -m pip install --progress-bar off uv >> "$log" 2>&1 || { tail -n 15 "$log"; echo "installing failed: see $log"; exit 1; }
    uv=$environment/bin/uv
  fi
fi
echo "installing into $environment with $([ -n "$uv" ] && echo uv || echo pip) (minutes; $size)"
install() { # install what is named; of uv's and pip's lines, those that say what is going on
  if [ -n "$uv" ]; then
    "$uv" pip install --python "$PYTHON" "$@"
  else
    "$PYTHON" -m pip install --progress-bar off "$@"
  fi 2>&1 | tee -i -a "$log" \
    | awk '/^ *(Collecting|Downloading|Building|Prepared|Installing|Installed|Successfully)/ { print "  " substr($0, 1, 100); fflush() }'
}
# shellcheck disable=SC2086
if ! install $tested ${TORCH:+--torch-backend="$TORCH"} -e '.[all]'; then
  [ -n "$TORCH" ] || tail -n 15 "$log"
  [ -z "$TORCH" ] || echo "torch's CPU build lies at torch's own index, which must be reached; plain \`make setup\` needs the package index alone"
  echo "installing failed: see $log"
  exit 1
fi
"$PYTHON" -m pip install --progress-bar off --no-deps imagecorruptions-imaug==1.1.5 >> "$log" 2>&1 \
  || echo "the photographs of the corruption frost were not to be had: the other 18 are made without them"
printf '%s' "$TORCH" > "$READY"
