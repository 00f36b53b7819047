#!/bin/sh
# Installs what is missing, builds what is stale, and becomes the program.
#
#   setup.sh start ARGS…   the tool (npm start)
#   setup.sh test ARGS…    the tests (npm test)
#   setup.sh build         dist/ alone (npm's "prepare")
#
# Standard output belongs to what it becomes: everything here goes to standard error.

set -eu

mode=${1:-}
[ $# -eq 0 ] || shift
stands_in=${INIT_CWD:-$PWD} # npm has changed to the project
cd "$(dirname "$0")/.."

lock_copy=node_modules/.installed-package-lock.json
cap_stamp=node_modules/.built-cap
addon=node_modules/cap/build/Release/cap.node
patch=native-notes/cap-0.2.1.patch
# The one that npm runs on, for everything: what is built by one Node need not load in another.
node=${npm_node_execpath:-$(command -v node || echo node)}

say() {
  echo "udpicmp-watch: $*" >&2
}

# --- What is there already? -----------------------------------------------------------------------

have_packages() {
  cmp -s package-lock.json "$lock_copy"
}

have_dist() {
  [ -f dist/cli.js ] &&
    [ -z "$(find src tsconfig.json tsconfig.build.json package.json -newer dist/cli.js)" ]
}

# Which node built which patch into which file; build-cap.mjs knows better, but costs a start of node.
describe_cap() {
  stat -L -c '%n %i %s %Y' "$node" "$patch" "$addon" 2>/dev/null
}

have_cap() {
  [ -f "$cap_stamp" ] && [ "$(describe_cap)" = "$(cat "$cap_stamp")" ]
}

# --- Whose are the files? -------------------------------------------------------------------------

# Under sudo, what is created belongs to the user who called sudo, and so does npm's cache.
choose_owner() {
  owner=
  if [ "$(id -u)" -eq 0 ] && [ "${SUDO_UID:-0}" -ne 0 ]; then
    owner=$SUDO_UID
    as_owner sh -c 'test -w . && test -x "$1" && command -v npm' sh "$node" >/dev/null 2>&1 || owner=
  fi
  for dir in node_modules dist; do
    if [ -e "$dir" ] && ! as_owner test -w "$dir"; then
      say "$PWD/$dir belongs to another user; remove it first: sudo rm -r '$PWD/$dir'"
      exit 1
    fi
  done
  if ! as_owner test -w .; then
    say "$PWD is not writable, and something in it is missing or stale; run this as its owner"
    exit 1
  fi
}

as_owner() {
  if [ -z "$owner" ]; then
    "$@"
    return
  fi
  set -- "PATH=$PATH" "$@"
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY NODE_EXTRA_CA_CERTS; do
    eval "value=\${$name:-}"
    # shellcheck disable=SC2154  # set by eval
    [ -z "$value" ] || set -- "$name=$value" "$@"
  done
  sudo -H -u "#$owner" env "$@"
}

# --- Make it ----------------------------------------------------------------------------------------

install_packages() {
  say 'installing the npm packages'
  # Whatever npm command this runs under; the development packages build it.
  if ! log=$(as_owner npm ci --global=false --location=project --include=dev --include=optional \
    --ignore-scripts --no-audit --no-fund --loglevel=error 2>&1); then
    reason=$(echo "$log" | sed -n -E 's/^npm (error|ERR!) +//p' | grep -v -E '^(errno|syscall|A complete log)' |
      head -n 3 | tr '\n' ' ')
    say "the npm packages cannot be installed (npm ci): ${reason:-$log}"
    exit 1
  fi
  as_owner cp package-lock.json "$lock_copy"
}

build_dist() {
  as_owner rm -rf dist.new dist.old
  as_owner mkdir dist.new
  as_owner touch dist.new/.started
  if ! as_owner "$node" node_modules/.bin/tsc -p tsconfig.build.json --outDir dist.new >&2; then
    as_owner rm -rf dist.new
    say 'the build failed'
    exit 1
  fi
  # A source that is saved during the build is newer than this.
  as_owner touch -r dist.new/.started dist.new/cli.js
  as_owner rm dist.new/.started
  as_owner chmod +x dist.new/cli.js
  [ ! -e dist ] || as_owner mv dist dist.old
  as_owner mv dist.new dist
  as_owner rm -rf dist.old
}

have_headers() {
  echo '#include <pcap/pcap.h>' | ${CXX:-c++} -E -x c++ - >/dev/null 2>&1
}

# Only where nothing has to be asked.
install_headers() {
  command -v apt-get >/dev/null && command -v "${CXX:-c++}" >/dev/null || return 0
  become=
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      say "libpcap's headers are missing: sudo apt-get install libpcap-dev"
      return 0
    fi
    become='sudo -n'
  fi
  say 'installing libpcap-dev'
  apt="$become env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=60"
  $apt install -y libpcap-dev >/dev/null 2>&1 ||
    { $apt update >/dev/null 2>&1 && $apt install -y libpcap-dev >/dev/null 2>&1; } ||
    say "libpcap's headers cannot be installed; try: sudo apt-get install libpcap-dev"
}

# Without it there is replay, and live capture by an addon that was built before: not an error here.
build_cap() {
  if ! as_owner "$node" native-notes/build-cap.mjs --check 2>/dev/null; then
    have_headers || install_headers
    say 'building cap'
    as_owner "$node" native-notes/build-cap.mjs || return 0
  fi
  describe_cap | as_owner tee "$cap_stamp" >/dev/null
}

# --- What is asked for? -----------------------------------------------------------------------------

# A replay, help or the version: no libpcap, no compiler.
needs_no_cap() {
  while [ $# -gt 0 ]; do
    case $1 in
      --) return 1 ;;
      --read | --read=* | --help | --version) return 0 ;;
      --interface | --write | --count | --buffer-size | --sockets | --netns) [ $# -eq 1 ] || shift ;;
      --host | --port | --pid | --comm | --errno) [ $# -eq 1 ] || shift ;;
      --*) ;;
      -?*)
        letters=${1#-}
        while :; do
          case $letters in
            [nvltqD]*) letters=${letters#?} ;;
            *) break ;;
          esac
        done
        case $letters in
          [rhV]*) return 0 ;;
          [iwcB]) [ $# -eq 1 ] || shift ;;
        esac
        ;;
    esac
    shift
  done
  return 1
}

name_missing_tools() {
  while read -r tool package; do
    command -v "$tool" >/dev/null ||
      say "MISSING: $tool. The tests that need it cannot run (Debian: apt install $package)"
  done <<END
tcpdump tcpdump
ip iproute2
ss iproute2
iptables iptables
tcpreplay tcpreplay
nc netcat-openbsd
jq jq
END
}

# --- Do it --------------------------------------------------------------------------------------------

case $mode in
  build)
    choose_owner
    if [ ! -x node_modules/.bin/tsc ]; then
      # Installing a clone globally links it, and installs none of its packages.
      if [ "${npm_config_global:-}" = true ]; then
        install_packages
      elif [ -f dist/cli.js ]; then
        exit 0
      else
        say 'dist/ is missing, and building it takes the development packages: npm ci'
        exit 1
      fi
    fi
    have_dist || build_dist
    [ "${npm_config_global:-}" != true ] || have_cap || build_cap
    # npm has just installed, and runs this last.
    [ ! -x node_modules/.bin/vitest ] || have_packages || as_owner cp package-lock.json "$lock_copy"
    exit 0
    ;;
  start | test) ;;
  *)
    say "usage: $0 start|test|build [ARGS…]"
    exit 2
    ;;
esac

wants_cap=true
if [ "$mode" = start ] && needs_no_cap "$@"; then
  wants_cap=false
fi

if ! have_packages || ! have_dist || { $wants_cap && ! have_cap; }; then
  # Two starts at once: the second waits, and then finds all done.
  exec 9<package.json
  ! command -v flock >/dev/null || flock -w 900 9 || say 'another start still builds; going on'
  choose_owner
  have_packages || install_packages
  have_dist || build_dist
  ! $wants_cap || have_cap || build_cap
  exec 9<&-
fi

if [ "$mode" = test ]; then
  PATH=$PATH:/usr/sbin:/sbin
  export PATH
  name_missing_tools
  exec "$node" node_modules/.bin/vitest run "$@"
fi

# File names are meant from where the user stands.
cli=$PWD/dist/cli.js
cd "$stands_in"
exec "$node" "$cli" "$@"
