#!/bin/sh
# Test on each Python from 3.11 to 3.14 that is here, in an environment and a build of its own, and say which ran, which
# failed and which this machine has not. Arguments: what to test (tests/aio). $PYTHONS: all (the default); others, than that
# of .venv; newest, the last of those; or none, which only says.
set -u
cd "$(dirname "$0")/.."

main=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || main=
here="" absent="" others="" newest=""
for version in 3.11 3.12 3.13 3.14; do
  pyenv=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3 2>/dev/null | sort -rV | tr '\n' ' ')
  if python=$(PYTHON="python$version /usr/bin/python$version /usr/local/bin/python$version $pyenv" \
              tools/find_python.sh 2>/dev/null); then
    here="$here $version=$python"
    [ "$version" = "$main" ] || { others="$others $version"; newest=$version; }
  else
    absent="$absent $version"
  fi
done

case "${PYTHONS:-all}" in
  all) wanted="3.11 3.12 3.13 3.14" ;;
  others) wanted=$others ;;
  newest) wanted=$newest ;;
  none) wanted= ;;
  *) echo "PYTHONS is all, others, newest or none, not: $PYTHONS" >&2; exit 2 ;;
esac

passed="" failed="" left=""
for it in $here; do
  version=${it%%=*} python=${it#*=}
  case " $wanted " in
    *" $version "*)
      echo "testing on Python $version, $python"
      if make --no-print-directory PYTHON="$python" VENV=".venv-$version" BUILD="python-$version" \
          TESTS="${*:-tests/aio}" test </dev/null; then
        passed="$passed $version"
      else
        failed="$failed $version"
      fi ;;
    *) left="$left $version" ;;
  esac
done

echo "Pythons: passed${passed:- none}; failed${failed:- none}; here, not tested now${left:- none};" \
     "not on this machine${absent:- none}"
[ -z "$failed" ]
