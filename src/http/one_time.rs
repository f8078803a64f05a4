//! One-time values that are over are forgotten: pushed requests (RFC 9126 §2.2), the ids of assertions (RFC 7523 §3) and
//! of `DPoP` proofs (RFC 9449 §11.1), and user codes (RFC 8628 §3.2). They wait in small tables beside the ledger.

use super::assertion::LEEWAY;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ledger::LedgerError;

/// How many rows one statement deletes.
const AT_ONCE: i64 = 1_000;

/// A table of one-time values, by digest, each with the moment that it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTime {
    /// Pushed authorization requests.
    PushedRequests,
    /// Ids of assertions that clients have authenticated with.
    ClientAssertions,
    /// Ids of DPoP proofs.
    DpopProofs,
    /// User codes of device authorizations.
    DeviceAuthorizations,
    /// Ids of assertions of other servers that tokens were issued for.
    GrantAssertions,
}

impl OneTime {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::PushedRequests,
        Self::ClientAssertions,
        Self::GrantAssertions,
        Self::DpopProofs,
        Self::DeviceAuthorizations,
    ];

    /// The table's name.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::PushedRequests => "pushed_requests",
            Self::ClientAssertions => "client_assertions",
            Self::DpopProofs => "dpop_proofs",
            Self::DeviceAuthorizations => "device_authorizations",
            Self::GrantAssertions => "grant_assertions",
        }
    }

    /// Notes that a value was used, on all nodes at once; it is forgotten some time after `ends`. False: it had been
    /// used before.
    pub(super) async fn use_up(
        self,
        app: &App,
        digest: Digest,
        ends: Timestamp,
    ) -> Result<bool, LedgerError> {
        let table = self.table();
        let statement = format!(
            "INSERT INTO grantlog.{table} (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        );
        // Not tried again where the answer is lost: that would look like a second use.
        let inserted = sqlx::query(&statement)
            .bind(digest.0.as_slice())
            .bind(ends + LEEWAY)
            .execute(app.ledger.pool())
            .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Deletes what is over; returns how many.
    pub async fn prune(self, app: &App) -> Result<u64, sqlx::Error> {
        let table = self.table();
        let statement = format!(
            "DELETE FROM grantlog.{table} WHERE digest IN \
             (SELECT digest FROM grantlog.{table} WHERE expires_at <= $1 LIMIT $2)"
        );
        let mut pruned = 0;
        loop {
            let deleted = sqlx::query(&statement)
                .bind(app.ledger.clock().now())
                .bind(AT_ONCE)
                .execute(app.ledger.pool())
                .await?
                .rows_affected();
            pruned += deleted;
            if deleted == 0 {
                return Ok(pruned);
            }
        }
    }
}
