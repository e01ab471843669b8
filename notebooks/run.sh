# Called by the Makefile with a goal: checks what was given, and has notebooks/run.mk make it from within the build folder,
# because make takes no target with a space in its name. Values come through the environment and may hold any character.
set -euo pipefail

# Names that are known need no look, so that a second `make` takes less than a second; a test holds them to the code's.
if [[ $PROFILE =~ ^(smoke|laptop|overnight|gpu|paper)$ && $DATASET =~ ^(fashion_mnist|binary_mnist|cifar10)$ \
  && $LIKELIHOOD =~ ^(default|bernoulli|gaussian|mol)$ && -z $SET ]]; then
  TAG=$DATASET
  [ "$LIKELIHOOD" = default ] || TAG+=-$LIKELIHOOD
else
  TAG=$("$PYTHON" -m vaelib tag --profile="$PROFILE" --dataset="$DATASET" --likelihood="$LIKELIHOOD" --set="$SET")
fi
LEFT_OUT=${TAG#"${TAG%% *}"} TAG=${TAG%% *}
[ -z "$LEFT_OUT" ] || [ "$1" = headline ] || echo "notebooks$LEFT_OUT are left out: all images are of one class, so no" \
  "classifier can be tested; give a sub-folder for each class, or an .npz with labels"

keep() { # write standard input to the file $1, unless it says the same already
  cat > "$1.new"
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

# Copies that change only when the text does: a checkout or a save in JupyterLab must not restart a long run.
mkdir -p "$VAELIB_BUILD"/{src,"$PROFILE"/notebooks,"$PROFILE"/logs}
for notebook in notebooks/[0-9]*.py; do keep "$VAELIB_BUILD/src/${notebook##*/}" < "$notebook"; done
find vaelib -type f -not -name '*.pyc' -not -name '.*' -print0 | LC_ALL=C sort -z | xargs -0 cat | cksum | keep "$VAELIB_BUILD/src/lib.sum"
printf '%s\n' "$SET" | keep "$VAELIB_BUILD/src/$PROFILE.$TAG.set"

export TAG LEFT_OUT ROOT=$PWD
exec $MAKE --no-print-directory -C "$VAELIB_BUILD" -f "$ROOT/notebooks/run.mk" "$1"
