# Sourced: a `grantlog dev` on a free port, for as long as the script runs. Sets root, work and grantlog; starts it
# with the environment given in `settings`.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# A directory that an unprivileged Postgres can reach, too.
work=$(mktemp -d /tmp/grantlog-clients-XXXXXX)
chmod 755 "$work"
server=
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# BINARY names one that is there: CI's tests have built it, and `cargo build` would build it anew with other features.
grantlog=${BINARY:-}
if [ -z "$grantlog" ]; then
    cargo build --quiet --manifest-path "$root/Cargo.toml"
    grantlog=${CARGO_TARGET_DIR:-$root/target}/debug/grantlog
fi
env "${settings[@]}" "$grantlog" dev --listen 127.0.0.1:0 --data-dir "$work/data" >"$work/log" 2>&1 &
server=$!
for _ in $(seq 600); do
    [ -s "$work/data/dev.json" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$work/log"; exit 1; }
    sleep 0.1
done
[ -s "$work/data/dev.json" ] || { cat "$work/log"; exit 1; }

