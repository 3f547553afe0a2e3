# Packages of a newer suite of Debian than the machine may run; sourced, not run.
#
# They come through the mirror that the machine's apt uses already, with Debian's signatures checked.
# All of it happens in an apt configuration of our own below PREFIX: no root, no lock of the system's
# apt, nothing installed or upgraded.
#
# DEBIAN_MIRROR names a mirror where apt knows none of Debian's (Ubuntu).
# Whoever sources this says in `suite` which suite, and has `fail STATUS TEXT`: 1 something failed,
# 3 not possible on this system.

# Every archive that apt is set up for. `--print-uris` downloads nothing and needs no lists.
mirrors() {
  if [ -n "${DEBIAN_MIRROR:-}" ]; then
    echo "${DEBIAN_MIRROR%/}"
  else
    apt-get --print-uris update 2>/dev/null |
      sed -nE "s#^'([^']+)/dists/[^']+/InRelease' .*#\1#p" | grep -v -- '-security' | sort -u
  fi
}

# Points our apt at a mirror; succeeds if Debian itself has signed the suite there.
try_mirror() {
  echo "deb [signed-by=$keyring] $1 $suite main" >"$world/sources.list"
  apt-get -c "$world/apt.conf" update -q >"$world/log" 2>&1 &&
    apt-cache -c "$world/apt.conf" show "${wanted[@]}" >/dev/null 2>&1
}

# Makes `world`, where `apt` looks for packages of the suite.
newer_debian() { # PREFIX PACKAGE...
  local program candidate mirror='' arch prefix=$1
  shift
  wanted=("$@")
  for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || fail 3 "needs $program, which this system does not have"
  done
  keyring=''
  for candidate in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
    if [ -r "$candidate" ]; then keyring=$candidate; fi
  done
  [ -n "$keyring" ] || fail 3 "needs Debian's keys: the package debian-archive-keyring"
  arch=$(dpkg --print-architecture)

  world=$(mktemp -d "$prefix/.apt.XXXXXX")
  trap 'rm -rf "$world"' EXIT
  mkdir -p "$world"/lists/partial "$world"/cache/archives/partial "$world"/none "$world"/debs
  : >"$world/status"
  # An empty status makes this the world of a machine with no package at all; hooks that the
  # machine runs after an update are not ours to run.
  cat >"$world/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb::DEP-11;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "$world/cache";
Dir::Etc::SourceList "$world/sources.list";
Dir::Etc::SourceParts "$world/none";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$world/none";
Dir::State "$world";
Dir::State::Lists "$world/lists";
Dir::State::status "$world/status";
CONF
  for candidate in $(mirrors || true); do
    if try_mirror "$candidate"; then mirror=$candidate && break; fi
  done
  if [ -z "$mirror" ]; then
    if [ -s "$world/log" ]; then
      fail 1 "$suite cannot be had: $(grep -m 1 '^E:' "$world/log" || tail -n 1 "$world/log")"
    fi
    fail 3 "apt knows no mirror; set DEBIAN_MIRROR to one of Debian's"
  fi
}
