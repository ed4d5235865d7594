#!/bin/sh
# Every check of the source; all of them run, and one that fails makes the whole fail.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=""

check() {
  name=$1
  shift
  if said=$("$@" 2>&1); then
    echo "ok      $name"
  else
    echo "$said"
    echo "FAILED  $name: $*"
    failed="$failed $name"
  fi
}

python_sources="src tools tests"
cython_sources="src"
for folder in examples fuzz bench; do
  [ -d "$folder" ] && python_sources="$python_sources $folder" && cython_sources="$cython_sources $folder"
done

check ruff ruff check $python_sources
check cython-lint cython-lint --no-pycodestyle $cython_sources
check mypy mypy src/underpass
check imports python tools/check_imports.py
check size python tools/check_size.py
check modules python tools/check_modules.py

[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
