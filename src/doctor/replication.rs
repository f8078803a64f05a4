//! Synchronous standbys: a primary that dies takes with it what no other machine has, revocations that were acknowledged
//! among it.

use sqlx::PgConnection;
use url::Url;

use super::{Findings, Verdict};
use crate::config::{Settings, is_loopback};

const NAME: &str = "standby";

/// What the database says of its standbys.
#[derive(Clone, Debug, Default)]
struct Standbys {
    /// `synchronous_standby_names`.
    names: String,
    /// `synchronous_commit`.
    commit: String,
    /// Standbys that a commit waits for.
    synchronous: i64,
    /// Standbys of which this role may not be told whether it does.
    hidden: i64,
}

pub(super) async fn standbys(
    connection: &mut PgConnection,
    settings: &Settings,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let (names, commit, synchronous, hidden) = sqlx::query_as(
        "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit'), \
                count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), count(*) FILTER (WHERE sync_state IS NULL) \
         FROM pg_stat_replication",
    )
    .fetch_one(connection)
    .await?;
    let standbys = Standbys {
        names,
        commit,
        synchronous,
        hidden,
    };
    let local = Url::parse(&settings.issuer).is_ok_and(|url| is_loopback(&url));
    let (verdict, found, advice) = judge(&standbys, local);
    findings.push(NAME, verdict, found, advice);
    Ok(())
}

fn judge(standbys: &Standbys, local: bool) -> (Verdict, String, Option<&'static str>) {
    let Standbys {
        names,
        commit,
        synchronous,
        hidden,
    } = standbys;
    if names.trim().is_empty() {
        return if local {
            (
                Verdict::Ok,
                "none: this server is for this machine only".to_owned(),
                None,
            )
        } else {
            (
                Verdict::Warn,
                "synchronous_standby_names is empty".to_owned(),
                Some(
                    "run a synchronous standby (docs/evidence.md): otherwise a primary that is lost takes back \
                     revocations that were acknowledged",
                ),
            )
        };
    }
    if commit == "local" {
        return (
            Verdict::Fail,
            format!("{names}, and synchronous_commit is local: nothing waits for it"),
            Some("set synchronous_commit to on"),
        );
    }
    if *synchronous > 0 {
        return (Verdict::Ok, format!("{synchronous} of {names}"), None);
    }
    if *hidden > 0 {
        return (
            Verdict::Warn,
            format!(
                "{names}: {hidden} standbys are connected, and this role may not see which are synchronous"
            ),
            Some("GRANT pg_read_all_stats TO grantlog_app"),
        );
    }
    (
        Verdict::Fail,
        format!("{names}, and none is connected"),
        Some("start the standby: until then every append waits for it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(names: &str, commit: &str, (synchronous, hidden): (i64, i64), local: bool) -> Verdict {
        let standbys = Standbys {
            names: names.to_owned(),
            commit: commit.to_owned(),
            synchronous,
            hidden,
        };
        judge(&standbys, local).0
    }

    #[test]
    fn a_server_for_others_wants_a_synchronous_standby_that_is_there() {
        assert_eq!(verdict("", "on", (0, 0), true), Verdict::Ok);
        assert_eq!(verdict("", "on", (0, 0), false), Verdict::Warn);
        assert_eq!(
            verdict("", "on", (0, 1), false),
            Verdict::Warn,
            "an asynchronous one is none"
        );
        assert_eq!(verdict("ANY 1 (b, c)", "on", (1, 0), false), Verdict::Ok);
        assert_eq!(verdict("b", "remote_apply", (0, 1), false), Verdict::Warn);
        assert_eq!(verdict("b", "on", (0, 0), false), Verdict::Fail);
        assert_eq!(verdict("b", "local", (1, 0), false), Verdict::Fail);
    }
}
