//! The ledger: nobody can change it, there is room for what comes, and nothing is missing.

use sqlx::PgConnection;

use super::Findings;
use crate::ledger::LANE;

/// The role that we are connected as may read and call the append function, and no more.
pub(super) async fn rights(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    const ADVICE: &str = "connect as grantlog_app, and revoke what was granted to it beyond the migrations";
    let (role, is_superuser): (String, bool) =
        sqlx::query_as("SELECT rolname::text, rolsuper FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&mut *connection)
            .await?;
    if is_superuser {
        findings.fail(
            "rights",
            format!("{role} is a superuser: it can change the ledger"),
            ADVICE,
        );
        return Ok(());
    }
    let excess: Vec<String> = sqlx::query_scalar(
        "SELECT r.privilege || ' on ' || c.relname FROM pg_class c \
         CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS r (privilege) \
         WHERE c.relnamespace = 'grantlog'::regnamespace AND c.relkind IN ('r', 'p') \
           AND (c.relname LIKE 'ledger%' OR c.relname IN ('head', 'names')) \
           AND (has_table_privilege(c.oid, r.privilege) \
                OR (r.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(c.oid, r.privilege))) \
         ORDER BY 1",
    )
    .fetch_all(&mut *connection)
    .await?;
    let owned: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'grantlog'::regnamespace \
         AND c.relname LIKE 'ledger%' AND c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'USAGE')",
    )
    .fetch_all(connection)
    .await?;
    if !owned.is_empty() {
        findings.fail(
            "rights",
            format!("{role} owns the ledger: it can drop its triggers"),
            ADVICE,
        );
    } else if excess.is_empty() {
        findings.ok(
            "rights",
            format!("{role} can read the ledger and append, and not change it"),
        );
    } else {
        findings.fail("rights", format!("{role} has {}", excess.join(", ")), ADVICE);
    }
    Ok(())
}

/// Every table of the ledger refuses changes, whoever tries.
pub(super) async fn triggers(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    // tgtype: 2 before, 8 delete, 16 update, 32 truncate (pg_trigger.h).
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || ' (' || e.name || ')' FROM pg_class c \
         CROSS JOIN (VALUES ('update', 18), ('delete', 10), ('truncate', 34)) AS e (name, bits) \
         WHERE c.relnamespace = 'grantlog'::regnamespace AND c.relname LIKE 'ledger%' AND c.relkind IN ('r', 'p') \
           AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A') \
                           AND t.tgfoid = 'grantlog.refuse_change'::regproc AND t.tgtype & e.bits = e.bits) \
         ORDER BY 1",
    )
    .fetch_all(connection)
    .await?;
    if open.is_empty() {
        findings.ok("triggers", "every table of the ledger refuses changes");
    } else {
        findings.fail(
            "triggers",
            format!("missing or disabled: {}", open.join(", ")),
            "find out who removed them, verify the ledger, and create them again as in migrations/0001_ledger.sql",
        );
    }
    Ok(())
}

/// Grants and refusals of this quarter and the next ones have a place.
pub(super) async fn partitions(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    const ADVICE: &str =
        "run: SELECT grantlog.create_partitions(now(), interval '9 months') (a server does so daily)";
    let rows: Vec<(String, i32, bool)> = sqlx::query_as(
        "SELECT n.name, n.ahead, i.inhrelid IS NOT NULL FROM ( \
             SELECT format('ledger_%s_%s', family, \
                           to_char(date_trunc('quarter', now() AT TIME ZONE 'UTC') + ahead * interval '3 months', \
                                   'YYYY\"q\"Q')) AS name, family, ahead \
             FROM unnest(ARRAY['grant', 'refusal']) AS family, generate_series(0, 2) AS ahead) AS n \
         LEFT JOIN pg_class c ON c.relname = n.name AND c.relnamespace = 'grantlog'::regnamespace \
         LEFT JOIN pg_inherits i ON i.inhrelid = c.oid \
               AND i.inhparent = ('grantlog.ledger_' || n.family)::regclass \
         ORDER BY n.ahead, n.name",
    )
    .fetch_all(connection)
    .await?;
    let missing = |soon: bool| -> Vec<&str> {
        let wanted = rows
            .iter()
            .filter(|(_, ahead, exists)| !exists && (*ahead < 2) == soon);
        wanted.map(|(name, ..)| name.as_str()).collect()
    };
    let (soon, later) = (missing(true), missing(false));
    if !soon.is_empty() {
        findings.fail("partitions", format!("{} are missing", soon.join(", ")), ADVICE);
    } else if later.is_empty() {
        findings.ok("partitions", "there for this quarter and the next two");
    } else {
        findings.warn("partitions", format!("{} are missing", later.join(", ")), ADVICE);
    }
    Ok(())
}

/// Positions are 1, 2, 3 … up to the head: as many rows as the last position, which is the head's.
pub(super) async fn positions(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let (head, last, count, distinct_sum): (i64, i64, i64, bool) = sqlx::query_as(
        "SELECT (SELECT position FROM grantlog.head WHERE lane = $1), greatest(l.greatest, d.greatest), l.n + d.n, \
                l.total + d.total = (l.n + d.n)::numeric * (l.n + d.n + 1) / 2 \
         FROM (SELECT coalesce(max(position), 0) AS greatest, count(*) AS n, coalesce(sum(position::numeric), 0) AS total \
               FROM grantlog.ledger WHERE lane = $1) AS l, \
              (SELECT coalesce(max(last), 0) AS greatest, coalesce(sum(last - first + 1), 0)::bigint AS n, \
                      coalesce(sum((first + last)::numeric * (last - first + 1) / 2), 0) AS total \
               FROM grantlog.detached_ranges) AS d",
    )
    .bind(LANE)
    .fetch_one(connection)
    .await?;
    if head == last && last == count && distinct_sum {
        findings.ok(
            "positions",
            format!("1 to {head}, without a gap, detached quarters counted in"),
        );
    } else {
        findings.fail(
            "positions",
            format!("the head is at {head}, the last event at {last}, and there are {count} events"),
            "events were removed or added past the append function: stop the servers and restore a backup",
        );
    }
    Ok(())
}

/// No reader is further than the ledger: it would skip what comes next, without a word. (Tables say so themselves.)
pub(super) async fn cursors(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let ahead: Vec<(String, i64)> = sqlx::query_as(
        "SELECT c.reader, c.position FROM grantlog.head AS h, \
              (SELECT 'policies' AS reader, position FROM grantlog.policy_cursor \
               UNION ALL SELECT 'logout', position FROM grantlog.logout_cursor \
               UNION ALL SELECT 'shared signals', position FROM grantlog.ssf_cursor \
               UNION ALL SELECT 'the stream ' || name, position FROM grantlog.stream_cursors) AS c \
         WHERE h.lane = $1 AND c.position > h.position",
    )
    .bind(LANE)
    .fetch_all(connection)
    .await?;
    let Some((reader, position)) = ahead.first() else {
        findings.ok("cursors", "none is beyond the ledger's head");
        return Ok(());
    };
    findings.fail(
        "cursors",
        format!("the cursor of {reader} is at {position}, beyond the ledger's head: it reads nothing"),
        "somebody moved it, or restored an older ledger under it: stop the servers, find out what it skipped, and set it \
         back (a stream: remove it and add it from that position)",
    );
    Ok(())
}
