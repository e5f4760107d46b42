#!/bin/sh
# Installs, on Debian 12 or later, what the end-to-end tests need: servers and clients that no one here wrote.
# Run as root or by someone who may sudo. When everything is there it changes nothing and asks no package server.
set -eu

# libc6-dev: Debian's gcc only recommends it. libnet-ssleay-perl: swaks' TLS. openssl makes the test certificate; util-linux (setpriv) is always there.
packages="postfix swaks libnet-ssleay-perl unbound nsd bind9 bind9-dnsutils knot strace tmux gcc libc6-dev make openssl procps python3 python3-aiosmtpd"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=""
for package in $packages; do
    # shellcheck disable=SC2016 # ${Status} is dpkg's.
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)" in
        "install ok installed") ;;
        *) missing="$missing $package" ;;
    esac
done

policy=/usr/sbin/policy-rc.d
ours="# ci/install-debian.sh: no daemon starts while test tools are installed"

# The packages' daemons would take ports 25 and 53. A policy that was there already is put back as it was.
restore_policy() {
    if grep -qsF "$ours" "$policy"; then as_root rm -f "$policy"; fi
    if [ -e "$policy.before" ]; then as_root mv "$policy.before" "$policy"; fi
}

if [ -n "$missing" ]; then
    echo "installing:$missing"
    restore_policy
    trap restore_policy EXIT
    trap 'exit 1' HUP INT TERM
    if [ -e "$policy" ]; then as_root mv "$policy" "$policy.before"; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$ours" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    as_root apt-get update -q
    # shellcheck disable=SC2086 # A list of words.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
fi

if ! cargo nextest --version >/dev/null 2>&1; then
    cargo install cargo-nextest --locked
fi
