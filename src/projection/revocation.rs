//! What ends tokens and codes before their time: events of their own grant, and of its user, consent and client.
//!
//! A row is ended by the *first* event after it that covers it. That is a rule about positions, not about the
//! order in which events are looked at, so the live fold and a rebuild come to the same row.

use uuid::Uuid;

use super::cell::{Cell, Change, Columns, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use crate::clock::Timestamp;
use crate::domain::client::ClientEvent;
use crate::domain::consent::ConsentEvent;
use crate::domain::event::Event;
use crate::domain::refusal::RefusalEvent;
use crate::domain::scope::ScopeEvent;
use crate::domain::session::SessionEvent;
use crate::domain::signing_key::SigningKeyEvent;
use crate::domain::trail::{Class, TrailEvent};
use crate::domain::trusted_issuer::TrustedIssuerEvent;
use crate::domain::user::UserEvent;

/// The end of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: i64,
    pub(super) at: Timestamp,
    pub(super) reason: &'static str,
}

impl Mark {
    /// The row's last three columns.
    pub(super) fn cells(mark: Option<&Self>) -> [Cell; 3] {
        [
            Cell::Time(mark.map(|mark| mark.at)),
            Cell::Word(mark.map(|mark| mark.reason)),
            Cell::Int(mark.map(|mark| mark.position)),
        ]
    }

    fn row(&self) -> [Cell; 3] {
        [
            Cell::Int(Some(self.position)),
            Cell::Time(Some(self.at)),
            Cell::Word(Some(self.reason)),
        ]
    }
}

/// A row that can be revoked.
pub(super) trait Revocable {
    /// The position of the event that made it.
    fn id(&self) -> i64;
    /// Its number in its grant, ascending.
    fn number(&self) -> i32;
    /// What ended it so far.
    fn revoked(&mut self) -> &mut Option<Mark>;
}

/// How a table's rows are addressed and which are spared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addressing {
    /// The column that numbers rows in their grant.
    pub(super) number: &'static str,
    /// A condition on a row `r` and an outside event `e`: only such rows end.
    pub(super) outside: &'static str,
}

/// The ends that a batch of events brings.
#[derive(Default)]
pub(super) struct Revocations {
    families: Vec<(Uuid, Mark)>,
    ones: Vec<(Uuid, i32, Mark)>,
    users: Vec<(i64, Mark)>,
    consents: Vec<(i64, i64, Mark)>,
    clients: Vec<(i64, Mark)>,
    /// Grants with ids from the first to below the second: their part of the ledger is detached.
    detached: Vec<(Uuid, Uuid)>,
}

impl Revocations {
    /// All of a grant ends.
    pub(super) fn family(&mut self, family: Uuid, mark: Mark) {
        self.families.push((family, mark));
    }

    /// One row of a grant ends.
    pub(super) fn one(&mut self, family: Uuid, number: i32, mark: Mark) {
        self.ones.push((family, number, mark));
    }

    /// All of a user's end.
    fn user(&mut self, user: Option<i64>, mark: Mark) {
        self.users.extend(user.map(|user| (user, mark)));
    }

    /// All of a user's at one client end.
    fn consent(&mut self, parties: Option<(i64, i64)>, mark: Mark) {
        self.consents
            .extend(parties.map(|(user, client)| (user, client, mark)));
    }

    /// All of a client's end.
    fn client(&mut self, client: Option<i64>, mark: Mark) {
        self.clients.extend(client.map(|client| (client, mark)));
    }

    /// What an event that is not a grant's own ends among grants. It lists every event: a new one does not compile
    /// until it is decided whether it ends tokens.
    #[expect(clippy::too_many_lines, reason = "one line for each event")]
    pub(super) fn outside(&mut self, recorded: &Recorded, known: &Known) {
        match &recorded.event {
            Event::User(UserEvent::PasswordChanged(_)) => {
                self.user(recorded.user(known), recorded.mark("password_changed"));
            }
            Event::User(UserEvent::UserDisabled(_)) => {
                self.user(recorded.user(known), recorded.mark("user_disabled"));
            }
            Event::User(UserEvent::SubjectKeyDestroyed(_)) => {
                self.user(recorded.user(known), recorded.mark("erased"));
            }
            Event::Consent(ConsentEvent::ConsentWithdrawn(_)) => {
                let parties = known.consent(recorded.aggregate_id, recorded.position);
                self.consent(parties, recorded.mark("consent_withdrawn"));
            }
            Event::Client(ClientEvent::ClientRevoked(_)) => {
                self.client(recorded.client(known), recorded.mark("client_revoked"));
            }
            Event::Trail(TrailEvent::PartitionDetached(event)) => {
                if event.class == Class::Grant {
                    self.detached.push((event.lower, event.upper));
                }
            }
            Event::Client(
                ClientEvent::ClientRegistered(_)
                | ClientEvent::ClientUpdated(_)
                | ClientEvent::ClientSecretAdded(_)
                | ClientEvent::ClientSecretRetired(_)
                | ClientEvent::ClientSuspended(_)
                | ClientEvent::ClientReinstated(_)
                | ClientEvent::ClientThrottled(_)
                | ClientEvent::ScopeApprovalRequested(_)
                | ClientEvent::ScopeApproved(_)
                | ClientEvent::ScopeRejected(_)
                | ClientEvent::ScopeApprovalWithdrawn(_)
                | ClientEvent::RegistrationAccessTokenIssued(_)
                | ClientEvent::SoftwareStatementAccepted(_)
                | ClientEvent::ExchangeAllowed(_)
                | ClientEvent::ExchangeDisallowed(_),
            )
            | Event::Scope(
                ScopeEvent::ScopeDefined(_) | ScopeEvent::ScopeChanged(_) | ScopeEvent::ScopeRetired(_),
            )
            | Event::User(
                UserEvent::UserRegistered(_)
                | UserEvent::PasswordRehashed(_)
                | UserEvent::ProfileUpdated(_)
                | UserEvent::ClaimsUpdated(_)
                | UserEvent::UserEnabled(_)
                | UserEvent::FreshLoginRequired(_)
                | UserEvent::LegalHoldPlaced(_)
                | UserEvent::LegalHoldLifted(_),
            )
            | Event::Session(
                SessionEvent::SessionStarted(_)
                | SessionEvent::SessionReauthenticated(_)
                | SessionEvent::SessionEnded(_)
                | SessionEvent::BackchannelLogoutDelivered(_)
                | SessionEvent::BackchannelLogoutAbandoned(_),
            )
            | Event::Consent(ConsentEvent::ConsentGiven(_))
            | Event::Refusal(RefusalEvent::RequestRefused(_) | RefusalEvent::RefusalsSuppressed(_))
            | Event::SigningKey(
                SigningKeyEvent::KeyGenerated(_)
                | SigningKeyEvent::KeyActivated(_)
                | SigningKeyEvent::KeyRetired(_),
            )
            | Event::InitialAccessToken(_)
            | Event::SsfStream(_)
            // A containment writes on the grants that it ends.
            | Event::Policy(_)
            | Event::Stream(_)
            | Event::Alert(_)
            | Event::AuthorizationDetailType(_)
            | Event::Network(_)
            | Event::TokenUse(_)
            | Event::TrustedIssuer(
                TrustedIssuerEvent::IssuerTrusted(_) | TrustedIssuerEvent::IssuerDistrusted(_),
            )
            | Event::Trail(
                TrailEvent::ImportCompleted(_)
                | TrailEvent::LedgerRead(_)
                | TrailEvent::LegacyKeyStored(_)
                | TrailEvent::LegacyKeyForgotten(_)
                | TrailEvent::LogKeyGenerated(_)
                | TrailEvent::LogKeyRetired(_)
                | TrailEvent::EpochOpened(_)
                | TrailEvent::RetentionSet(_)
                | TrailEvent::AddressesForgotten(_),
            )
            // Its own events are for each fold to match.
            | Event::Grant(_) => {}
        }
    }

    /// Applies what a grant's own events ended to its rows, which are in ascending order.
    pub(super) fn settle<R: Revocable>(&mut self, rows: &mut [R]) {
        for (_, mark) in self.families.drain(..) {
            for row in rows.iter_mut() {
                end(row, mark);
            }
        }
        for (_, number, mark) in self.ones.drain(..) {
            if let Ok(place) = rows.binary_search_by_key(&number, Revocable::number)
                && let Some(row) = rows.get_mut(place)
            {
                end(row, mark);
            }
        }
    }

    /// Rows of grants that have left the ledger.
    fn departures(&mut self) -> Result<Change, Mismatch> {
        let given = gather(
            self.detached
                .drain(..)
                .map(|(lower, upper)| vec![Cell::Uuid(Some(lower)), Cell::Uuid(Some(upper))]),
        )?;
        Ok(Change {
            sql: "DELETE FROM {table} AS t USING {given} AS e (lower, upper) \
                  WHERE t.family >= e.lower AND t.family < e.upper"
                .to_owned(),
            given,
        })
    }

    /// The rest, as changes of the table.
    pub(super) fn changes(&mut self, table: Addressing) -> Result<Vec<Change>, Mismatch> {
        let Addressing { number, outside } = table;
        let families = gather(self.families.drain(..).map(|(family, mark)| {
            let [position, at, reason] = mark.row();
            vec![position, at, reason, Cell::Uuid(Some(family))]
        }))?;
        let ones = gather(self.ones.drain(..).map(|(family, number, mark)| {
            let [position, at, reason] = mark.row();
            vec![
                position,
                at,
                reason,
                Cell::Uuid(Some(family)),
                Cell::Small(number),
            ]
        }))?;
        let users = gather(self.users.drain(..).map(|(user, mark)| {
            let [position, at, reason] = mark.row();
            vec![position, at, reason, Cell::Int(Some(user))]
        }))?;
        let consents = gather(self.consents.drain(..).map(|(user, client, mark)| {
            let [position, at, reason] = mark.row();
            vec![
                position,
                at,
                reason,
                Cell::Int(Some(user)),
                Cell::Int(Some(client)),
            ]
        }))?;
        let clients = gather(self.clients.drain(..).map(|(client, mark)| {
            let [position, at, reason] = mark.row();
            vec![position, at, reason, Cell::Int(Some(client))]
        }))?;
        Ok(vec![
            self.departures()?,
            change("family", "r.family = e.family", families),
            change(
                "family, number",
                &format!("r.family = e.family AND r.{number} = e.number"),
                ones,
            ),
            change("owner", &format!("r.user_id = e.owner AND {outside}"), users),
            change(
                "owner, client",
                &format!("r.user_id = e.owner AND r.client_id = e.client AND {outside}"),
                consents,
            ),
            change(
                "client",
                &format!("r.client_id = e.client AND {outside}"),
                clients,
            ),
        ])
    }
}

/// The first event after a row counts.
fn end<R: Revocable>(row: &mut R, mark: Mark) {
    if row.id() < mark.position {
        let revoked = row.revoked();
        if revoked.is_none_or(|earlier| mark.position < earlier.position) {
            *revoked = Some(mark);
        }
    }
}

fn gather(rows: impl Iterator<Item = Vec<Cell>>) -> Result<Columns, Mismatch> {
    let mut columns = Columns::default();
    for row in rows {
        columns.row(&row)?;
    }
    Ok(columns)
}

fn change(names: &str, condition: &str, given: Columns) -> Change {
    Change {
        sql: format!(
            "UPDATE {{table}} AS t SET revoked_at = first.at, revoked_reason = first.reason, \
             revoked_position = first.position \
             FROM (SELECT DISTINCT ON (r.id) r.id, e.position, e.at, e.reason \
                   FROM {{given}} AS e (position, at, reason, {names}) JOIN {{table}} AS r ON {condition} \
                   WHERE r.id < e.position AND (r.revoked_position IS NULL OR e.position < r.revoked_position) \
                   ORDER BY r.id, e.position) AS first \
             WHERE t.id = first.id"
        ),
        given,
    }
}
