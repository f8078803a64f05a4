//! Where callers are: a database of places (MMDB) that the operator supplies. Addresses are decrypted for
//! it, and forgotten.

use std::path::Path;

use maxminddb::{PathElement, Reader};

use super::PolicyError;
use super::observed::{Kind, Observed, Place};
use crate::ids::SubjectId;
use crate::ledger::{LANE, Ledger, Metadata};

/// A database of places.
pub struct GeoIp(Reader<Vec<u8>>);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("geoip_database: {path} is not a MaxMind database that can be read: {why}")]
pub struct GeoIpError {
    path: String,
    why: String,
}

/// Within how many kilometres a place without a radius is meant.
const USUAL_RADIUS: f64 = 50.0;

impl GeoIp {
    /// Reads a database into memory.
    pub fn open(path: &Path) -> Result<Self, GeoIpError> {
        Reader::open_readfile(path).map(Self).map_err(|error| GeoIpError {
            path: path.display().to_string(),
            why: error.to_string(),
        })
    }

    /// Where an address is, as far as the database knows.
    #[must_use]
    pub fn place(&self, address: std::net::IpAddr) -> Option<Place> {
        let found = self.0.lookup(address).ok()?;
        let number = |name| {
            let path = [PathElement::Key("location"), PathElement::Key(name)];
            found.decode_path::<f64>(&path).ok().flatten()
        };
        let radius = found
            .decode_path::<u16>(&[PathElement::Key("location"), PathElement::Key("accuracy_radius")])
            .ok()
            .flatten();
        Some(Place {
            latitude: number("latitude")?,
            longitude: number("longitude")?,
            radius: radius.map_or(USUAL_RADIUS, f64::from),
        })
    }

    /// Where the user was who logged in; none for other events, and where the key to the address is destroyed.
    pub(super) async fn locate(
        &self,
        ledger: &Ledger,
        event: &Observed,
    ) -> Result<Option<Place>, PolicyError> {
        if !matches!(event.kind, Kind::SessionStarted | Kind::SessionReauthenticated) {
            return Ok(None);
        }
        let row: Option<(String, String)> = sqlx::query_as(
            "SELECT l.metadata::text, \
                    (SELECT s.payload->>'subject' FROM grantlog.ledger_session s \
                     WHERE s.lane = $1 AND s.aggregate_type = 'session' AND s.aggregate_id = $2 AND s.sequence = 1) \
             FROM grantlog.ledger_session l WHERE l.lane = $1 AND l.position = $3",
        )
        .bind(LANE)
        .bind(event.aggregate)
        .bind(event.position)
        .fetch_optional(ledger.pool())
        .await?;
        let Some((metadata, subject)) = row else {
            return Ok(None);
        };
        let Some(subject) = subject.parse().ok().map(SubjectId) else {
            return Ok(None);
        };
        let place = ("session", event.aggregate, event.kind.name());
        let caller = Metadata::read(&metadata)?
            .caller_of(ledger.vault(), subject, place, event.at)
            .await?;
        Ok(caller
            .and_then(|caller| caller.address)
            .and_then(|address| self.place(address)))
    }
}
