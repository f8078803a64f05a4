# The recipes that CI runs, and the long ones that it does not.

# Everything that must pass before a commit lands.
check: format lint test clients samples siem tour evidence

format:
    cargo fmt --check

lint:
    cargo clippy --all-targets -- -D warnings

# All tests, on an embedded Postgres of their own.
test:
    cargo test

# Licences and advisories of the dependencies (needs cargo-deny).
deny:
    cargo deny check

# Stock client libraries, and Chromium, against a server of their own.
clients:
    REQUIRE_CHROMIUM=1 tests/clients/run

# Ten CPU minutes of made inputs for each parser whose name begins with `word`, two of them at once. It goes on where the
# run before stopped, `portion` CPU seconds a run; `rm -r target/tmp/soak` begins anew. A finding is kept in tests/corpus.
soak word='' seconds='600' portion='600':
    GRANTLOG_SOAK_SECONDS={{seconds}} GRANTLOG_SOAK_PORTION={{portion}} cargo test --test it parsers::{{word}} -- --nocapture --test-threads=2

# Faults at random points of the way of policies: `cases` schedules of them; the tests have four.
faults cases='200':
    PROPTEST_CASES={{cases}} cargo test --test it whatever_breaks_when -- --nocapture

# The sample requests of the two servers that Grantlog stands in for, as their documents write them.
samples:
    tests/samples/run

# What SIEMs are sent, by OCSF's schema, and as rsyslog writes it down.
siem:
    tests/siem/run

# The incident of docs/tour-incident.md, its commands and their output.
tour:
    tests/tour/run

# An export and proofs, verified by the Go project's packages for transparency logs.
evidence:
    tests/evidence/run

# Every measurement, about ten minutes on two cores.
bench:
    cargo run --release -- bench

# The catalogues of events and of refusals' reasons, generated from the types.
events:
    GRANTLOG_WRITE_DOCS=1 cargo test --test it up_to_date

# A server with demo data.
dev:
    cargo run --release -- dev
