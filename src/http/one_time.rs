//! One-time values that are over are forgotten: pushed requests (RFC 9126 §2.2), the ids of client assertions
//! (RFC 7523 §3) and of `DPoP` proofs (RFC 9449 §11.1), and user codes (RFC 8628 §3.2). They wait in small tables beside
//! the ledger.

use crate::app::App;

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
}

impl OneTime {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::PushedRequests,
        Self::ClientAssertions,
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
        }
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
