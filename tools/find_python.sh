#!/bin/sh
# Print the path of a Python >= 3.11 that has its C headers, and venv and ssl (a hand-built one may lack them): $PYTHON
# or the first that is found.
set -u

usable='
import ensurepip, os, ssl, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
if sys.version_info < (3, 11) or not os.path.exists(header):
    sys.exit(1)
print(os.path.realpath(sys.executable))
'

for python in ${PYTHON:-python3 /usr/bin/python3 python3.11 python3.12 python3.13 python3.14}; do
  found=$("$python" -c "$usable" 2>/dev/null) && { echo "$found"; exit 0; }
done

echo "no Python >= 3.11 with venv, ssl and C headers found${PYTHON:+ as $PYTHON}." >&2
echo "On Debian 12: apt-get install python3 python3-dev python3-venv; elsewhere: make PYTHON=/path/to/python3" >&2
exit 1
