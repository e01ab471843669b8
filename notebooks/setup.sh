# Called by `make setup`: installs everything into the environment of $PYTHON, and says what it is doing.
set -euo pipefail

environment=${PYTHON%/bin/python}
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
echo "installing into $environment (a few minutes and about 7 GB, most of it torch's CUDA build; README: a CPU build instead)"
"$PYTHON" -m pip install --progress-bar off -e '.[all]' 2>&1 | tee -i "$log" \
  | awk '/^ *(Collecting|Downloading|Building|Installing|Successfully)/ { print "  " substr($0, 1, 100); fflush() }' \
  || { tail -n 15 "$log"; echo "installing failed: see $log"; exit 1; }
"$PYTHON" -m pip install --progress-bar off --no-deps imagecorruptions-imaug >> "$log" 2>&1 \
  || echo "the photographs of the corruption frost were not to be had: the other 18 are made without them"
touch "$READY"
