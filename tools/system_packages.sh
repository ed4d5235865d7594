#!/bin/sh
# Install the Debian packages that Underpass is built, run and tested with, where one is missing. With all of them there, it
# needs neither root nor a network. A service that comes with a package is neither started nor enabled.
#
# --dpdk: also what packet I/O by DPDK is built with, to compare with. That is 190 packages, so not by default.
# --browser: also Chromium, for tests/aio/test_browser.py: 400 MB. $PYTHON as for tools/find_python.sh.
set -eu

packages="clang llvm gcc libc6-dev libbpf-dev libelf-dev zlib1g-dev libpcap-dev libseccomp2 pkg-config python3-dev
  python3-venv iproute2 netbase ethtool iputils-ping procps curl wrk apache2-utils nginx-light redis-server openssl tcpdump nftables groff-base"

# libFuzzer: Debian 12 has a newer clang for it than its own; in later ones, which have no clang-16, their own will do.
case "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" in
  bookworm) packages="$packages clang-16 libclang-rt-16-dev" ;;
  *) packages="$packages libclang-rt-dev" ;;
esac

case "$*" in
  "") ;;
  --dpdk) packages="$packages libdpdk-dev" ;;
  --browser) packages="$packages chromium" ;;
  *) echo "tools/system_packages.sh takes --dpdk, --browser or nothing, not: $*" >&2; exit 2 ;;
esac

# Debian has CPython's own tests in a package apart; other Pythons bring theirs.
python=$("$(dirname "$0")/find_python.sh" 2>/dev/null) || python=$(readlink -f /usr/bin/python3 || true)
case "$python" in
  /usr/bin/python3.*) packages="$packages lib${python#/usr/bin/}-testsuite" ;;
esac

if ! command -v apt-get >/dev/null; then
  echo "no apt-get here: these Debian packages, or what your system calls them, must be there:" $packages >&2
  exit 0
fi

missing=""
for package in $packages; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "missing Debian packages; as root: apt-get install$missing" >&2
  exit 1
fi

# invoke-rc.d asks this file before a package starts its service; 101 is `no`.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT INT TERM
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod 755 $policy
fi

echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $missing >/dev/null
case "$missing" in
  *nginx*) command -v systemctl >/dev/null && systemctl disable --quiet nginx 2>/dev/null || true ;;
esac
