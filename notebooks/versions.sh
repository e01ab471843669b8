# Called by `make update-lock` and `make test-pythons`. Both need uv: its resolver knows other systems, and the lowest versions.
set -euo pipefail

uv=$(command -v uv || command -v "${PYTHON%/*}/uv") || { echo "uv is needed: \`make setup\` installs it, and so does pip install uv"; exit 1; }

if [ "$1" = lock ]; then
  # For every system and Python at once, with markers; what is locked stays where pyproject.toml still allows it.
  exec "$uv" pip compile --quiet --universal --python-version 3.11 --extra all --no-annotate \
    --custom-compile-command "make update-lock" ${UPGRADE:+--upgrade} pyproject.toml -o requirements.lock
fi

python_of() { # the path of a Python 3.x that runs; what pyenv has lies in no folder of PATH
  local one
  for one in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    "$one" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$1'; print(sys.executable)" 2> /dev/null && return
  done
  "$uv" python find "$1" 2> /dev/null # one of uv's own
}

mkdir -p "$VAELIB_BUILD"/{logs,pythons}
verdicts= failed=
for name in 3.11 3.12 3.13 lowest; do
  version=${name/lowest/3.11} environment=$VAELIB_BUILD/pythons/$name log=$VAELIB_BUILD/logs/pythons-$name.log
  what="Python $version$([ "$name" != lowest ] || echo ' with the lowest versions')"
  python=$(python_of "$version") || python=$version # uv fetches it, where it may
  if [ ! -x "$environment/bin/python" ] && ! "$uv" venv --quiet --python "$python" "$environment" > "$log" 2>&1; then
    verdicts+="$what: not found here, and uv could not fetch it"$'\n'
    continue
  fi
  echo "$what ($python): installing, then testing"
  versions="-c requirements.lock" warnings=()
  if [ "$name" = lowest ]; then # whose oldest packages call the newest of others by old names
    versions="--resolution lowest-direct" warnings=(-W default::DeprecationWarning)
  fi
  # shellcheck disable=SC2086
  if ! "$uv" pip install --python "$environment/bin/python" $versions ${TORCH:+--torch-backend="$TORCH"} -e '.[all]' > "$log" 2>&1; then
    verdict="installing failed: see $log" failed=1
  elif "$environment/bin/python" -m pytest -q --quick -p no:cacheprovider -n 2 --dist loadfile "${warnings[@]}" 2>&1 | tee -i "$log"; then
    verdict=$(tail -n 1 "$log")
  else
    verdict="$(tail -n 1 "$log"): see $log" failed=1
  fi
  verdicts+="$what: $verdict"$'\n'
done
printf '\n%s' "$verdicts"
[ -z "$failed" ]
