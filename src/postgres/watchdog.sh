# Stops a PostgreSQL server when the process that supervises it ends, however it ends.
#
# Its argument is the cluster's directory. It needs the read end of a pipe as standard input whose only write end is in the
# supervisor. Every line names the current postmaster's process id; the end of the input is the end of the
# supervisor, or its wish to stop.
trap '' HUP INT TERM
cluster=$1
pid=
while read -r line; do pid=$line; done
[ -n "$pid" ] || exit 0

# A process of this cluster: its postmaster, or what is about to become it. Numbers are used again, so the
# process must still work in (or be called with) the cluster's directory. A defunct process does not.
runs() {
    kill -0 "$pid" 2>/dev/null || return 1
    if [ -e /proc/self/cwd ]; then
        [ "/proc/$pid/cwd" -ef "$cluster" ]
    else
        ps -ww -o command= -p "$pid" | grep -qF -- "$cluster"
    fi
}

# No other process has become the postmaster meanwhile. A server that is starting has no file yet.
is_postmaster() {
    [ -e "$cluster/postmaster.pid" ] || return 0
    read -r first <"$cluster/postmaster.pid" && [ "$first" = "$pid" ]
}

# A fast shutdown first; after 20 seconds an immediate one, from which the next start recovers.
ticks=0
asked=
while runs && [ "$ticks" -lt 400 ]; do
    if is_postmaster; then
        if [ -z "$asked" ]; then
            kill -INT "$pid" 2>/dev/null && asked=fast
        elif [ "$asked" = fast ] && [ "$ticks" -ge 200 ]; then
            kill -QUIT "$pid" 2>/dev/null && asked=immediate
        fi
    fi
    sleep 0.1
    ticks=$((ticks + 1))
done
