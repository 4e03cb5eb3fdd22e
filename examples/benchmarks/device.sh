#!/usr/bin/env bash
# Measures jaxmap on the device that JAX finds: is it exact there, how fast is it, and is that faster than fetching the
# predictions and scoring them on the host. Takes at most eight minutes: every part has a time limit of its own, and a
# part that fails or runs out of time does not end the others.
#
#     bash examples/benchmarks/device.sh [--quick] [--wheels DIR] [OUTPUT]
#
# OUTPUT is a folder, by default results-DEVICE; each part writes its figures there as they come, and summary.txt says
# how the parts ended. --quick takes small sizes, to try the script. --wheels names a folder of wheels of packages that
# are missing here (hotcoco, pycocotools, msgspec, chex): they are unpacked beside the results, and nothing is
# installed. $PYTHON is the interpreter, by default python3. The exit status is 1 if a part failed; being slow is none.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"
quick=() wheels="${WHEELS:-}" output=""
while (($#)); do
  case "$1" in
    --quick) quick=(--quick) ;;
    --wheels) wheels="${2:?--wheels needs a folder}" && shift ;;
    -*) echo "unknown option $1; usage: device.sh [--quick] [--wheels DIR] [OUTPUT]" >&2 && exit 2 ;;
    *) output="$1" ;;
  esac
  shift
done

export PYTHONPATH="$here/../..:$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
if [[ -n "$wheels" ]]; then
  for wheel in "$wheels"/*.whl; do "$python" -m zipfile -e "$wheel" "$scratch/packages"; done
  export PYTHONPATH="$PYTHONPATH:$scratch/packages"
fi
export JAX_COMPILATION_CACHE_DIR="$scratch/programs" # no part compiles what an earlier one has compiled
if [[ -z "$output" ]]; then
  name="$(timeout 60 "$python" -c 'import jax; print(jax.devices()[0].device_kind)' 2>/dev/null | tail -1)" || name=""
  output="results-$(printf '%s' "${name:-unknown}" | tr -cs 'A-Za-z0-9.\n' '-')"
fi
mkdir -p "$output"
: >"$output/summary.txt"
failed=0

# part LIMIT NAME COMMAND...: at most LIMIT seconds; NAME.txt gets what the command prints.
part() {
  local limit="$1" name="$2" start="$SECONDS" status=0 ended
  shift 2
  printf '\n== %s (at most %s s)\n' "$name" "$limit"
  timeout --kill-after=2 "$limit" "$python" "$@" 2>"$output/$name.log" | tee "$output/$name.txt" || status="${PIPESTATUS[0]}"
  case "$status" in
    0) ended=done ;;
    124 | 137) ended="stopped at its limit of $limit s" ;;
    *) ended="FAILED with status $status, see $name.log" && failed=1 && tail -n 5 "$output/$name.log" ;;
  esac
  printf '%s: %s after %s s\n' "$name" "$ended" "$((SECONDS - start))" | tee -a "$output/summary.txt"
}

# The limits of the parts add up to 480 seconds.
pairs=1000000 images=5000 batch=250 more_images=50000
if ((${#quick[@]})); then pairs=20000 images=200 batch=50 more_images=400; fi
parts="$here/device_parts.py"
part 20 a-facts "$parts" facts "${quick[@]}"
part 50 b-exactness "$parts" scenes "${quick[@]}"
part 45 b-decisions "$here/exactness.py" --pairs "$pairs"
part 85 c-updates "$parts" updates "${quick[@]}"
part 40 d-resident "$here/in_jit.py" --images "$images" --batch "$batch" --repeats 6
part 50 d-resident-large "$here/in_jit.py" --images "$more_images" --batch "$batch" --repeats 3
part 60 e-fetched "$parts" fetched "${quick[@]}"
part 50 f-maps "$parts" maps "${quick[@]}"
part 60 g-bootstrap "$parts" bootstrap "${quick[@]}"
part 20 h-profile "$parts" profile "${quick[@]}"
printf 'In all %s s; the figures are in %s\n' "$SECONDS" "$output" | tee -a "$output/summary.txt"
exit "$failed"
