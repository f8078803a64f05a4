//! The blast radius of a token, a credential, a client, a user, an address or an administrator's act: within a stretch of
//! time, what it could do and what it did, with the positions on the ledger behind each statement.
//!
//! What it did is found by the index of the trail ([`crate::trail`]). What it could do is in the tables of tokens, which
//! are brought up to the ledger's head first, by whichever node leads or by this process.

mod concern;
mod could;
mod did;
mod follow;
mod sessions;
mod window;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

pub use could::{ClientPower, Could, ExchangePower, ReachedToken};
pub use did::{Did, Fact};
pub use sessions::ReachedSession;

use crate::clock::Timestamp;
use crate::domain::trail::LedgerRead;
use crate::ids::{ClientKey, GrantId, RequestId, SubjectId};
use crate::ledger::{LedgerError, head_position};
use crate::operations::Operations;
use crate::projection::{ProjectionError, ProjectionRunner};
use crate::trail::Stretch;
use crate::trail::missing::{Missing, missing};

/// For how long the tables may take to show all of the ledger.
const CATCH_UP: Duration = Duration::from_mins(2);
/// The most tokens of a kind, and the most events, that are looked at.
pub const MOST: usize = 100_000;

/// Whose blast radius.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// A code, an access token or a refresh token, by where it was issued.
    Token {
        /// Its grant.
        grant: GrantId,
        /// The sequence of the event that issued it.
        sequence: u32,
        /// Whether it is an access token, which nothing is renewed with.
        access: bool,
    },
    /// A client's secrets, or one of them by its number.
    Secret {
        /// Whose.
        client: ClientKey,
        /// Which; none means all.
        number: Option<u32>,
    },
    /// A public key or certificate, by its `kid` or thumbprint.
    Key(String),
    /// A client.
    Client(ClientKey),
    /// A user.
    User(SubjectId),
    /// The network (/24 or /48) of an address.
    Address(IpAddr),
    /// What one request did: an administrator's command, or any other.
    Request(RequestId),
}

impl Of {
    /// The word on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Secret { .. } => "secret",
            Self::Key(_) => "key",
            Self::Client(_) => "client",
            Self::User(_) => "user",
            Self::Address(_) => "address",
            Self::Request(_) => "request",
        }
    }

    /// What is recorded of the question before it is answered.
    #[must_use]
    pub fn reading(&self, stretch: Stretch) -> LedgerRead {
        let mut reading = LedgerRead::stretch(stretch.after, stretch.upto);
        reading.filters.push(self.name().to_owned());
        match self {
            Self::Token { grant, .. } => reading.grant = Some(*grant),
            Self::Secret { client, .. } | Self::Client(client) => reading.client = Some(*client),
            Self::User(subject) => reading.subject = Some(*subject),
            Self::Request(request) => reading.resource = Some(request.to_string()),
            // A key is found by any text, and an address is personal.
            Self::Key(_) | Self::Address(_) => {}
        }
        reading
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BlastRadiusError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The tables do not follow the ledger.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// The tables are too far behind.
    #[error(
        "the tables did not come to the ledger's head within two minutes: see `grantlog projection list`"
    )]
    Behind,
    /// Nothing is known of the request.
    #[error("nothing is on the ledger under request {0}")]
    UnknownRequest(RequestId),
    /// The request was after the window.
    #[error("request {0} was after the stretch that is asked about")]
    LaterRequest(RequestId),
    /// The grant never issued such a token.
    #[error("grant {0} never issued this token")]
    UnknownToken(GrantId),
}

/// What something could do, and did.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BlastRadius {
    /// What it is of: `token`, `secret`, `key`, `client`, `user`, `address` or `request`.
    pub of: &'static str,
    /// The clients that it is, or could act as.
    pub clients: BTreeSet<ClientKey>,
    /// The users that it is of.
    pub subjects: BTreeSet<SubjectId>,
    /// From when on; none means from the beginning.
    pub since: Option<Timestamp>,
    /// Until when.
    pub until: Timestamp,
    /// The first position of that stretch.
    pub first_position: i64,
    /// The last one.
    pub last_position: i64,
    /// What it could do.
    pub could: Could,
    /// What it did.
    pub did: Did,
    /// Of what there was more than [`MOST`]: the first ones were looked at.
    pub truncated: Vec<&'static str>,
    /// Codes and tokens that expired before this moment are not among what it could use: the tables have forgotten them. Null
    /// where they have all of them.
    pub forgotten_before: Option<Timestamp>,
    /// What of the stretch could not be looked at: it has left the ledger.
    pub missing: Vec<Missing>,
}

/// A stretch of time and of the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// When it begins; none means with the ledger.
    pub since: Option<Timestamp>,
    /// When it ends.
    pub until: Timestamp,
    /// The same as positions.
    pub stretch: Stretch,
}

impl Window {
    /// Leaves out what was before an event.
    fn begin_with(&mut self, position: i64, recorded_at: Timestamp) {
        if self.stretch.after < position - 1 {
            self.stretch.after = position - 1;
            self.since = Some(recorded_at);
        }
    }

    /// Its beginning as a moment that can be compared.
    fn begins(&self) -> Timestamp {
        self.since.unwrap_or(chrono::DateTime::UNIX_EPOCH)
    }
}

/// Finds what something could do, and did, in a window.
pub async fn measure(
    operations: &Operations,
    of: &Of,
    mut window: Window,
) -> Result<BlastRadius, BlastRadiusError> {
    catch_up(operations).await?;
    let concern = concern::resolve(operations, of, &mut window).await?;
    let mut truncated = concern.truncated.clone();
    let did = did::did(operations, &concern, &window, &mut truncated).await?;
    let could = could::could(operations, &concern, &window, &mut truncated).await?;
    let forgotten_before = could::forgotten_before(operations, &concern, &window).await?;
    Ok(BlastRadius {
        of: of.name(),
        clients: concern.acts_as.clone(),
        subjects: concern.subjects.clone(),
        since: window.since,
        until: window.until,
        first_position: window.stretch.after + 1,
        last_position: window.stretch.upto,
        could,
        did,
        truncated: truncated.into_iter().collect(),
        forgotten_before,
        missing: missing(operations.ledger.pool(), window.stretch).await?,
    })
}

/// Waits until the tables show what the ledger holds now. Where no node follows it, this process does.
async fn catch_up(operations: &Operations) -> Result<(), BlastRadiusError> {
    let head = head_position(operations.ledger.pool()).await?;
    let runner = ProjectionRunner::start(&operations.ledger);
    let reached = tokio::time::timeout(CATCH_UP, runner.wait_for(head)).await;
    runner.stop().await;
    Ok(reached.map_err(|_| BlastRadiusError::Behind)??)
}
