//! Limits: failed authentications per address, client and user name; requests to the API per token.

use std::net::IpAddr;

use chrono::TimeDelta;
use quick_cache::sync::Cache;

use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, SubjectId};

/// How many clients' failures one address may make.
const CLIENTS_PER_ADDRESS: u32 = 10;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Failures from an address (IPv6: its /64).
    Address(IpAddr),
    /// Failures to authenticate as a client, from one address: a stranger cannot lock a client out.
    Client(String, Option<IpAddr>),
    /// Wrong secrets of any client from one address: the names of clients are for anybody to invent.
    Clients(IpAddr),
    /// Refresh tokens of another server that a client presented, from one address, and that do not open: counted
    /// apart from its authentication, which they must not block.
    Imported(String, Option<IpAddr>),
    /// Failed logins under a user name, by its digest.
    Login(Digest),
    /// Clients that an address registered (IPv6: its /64).
    Registration(IpAddr),
    /// Device authorizations that public clients began, from one address.
    DeviceRequests(IpAddr),
    /// Authorization requests that public clients pushed, from one address.
    PushedRequests(IpAddr),
    /// Wrong user codes, from one address.
    UserCodesFrom(IpAddr),
    /// Wrong user codes, of one user.
    UserCodesOf(SubjectId),
    /// Requests for tokens of a client that a policy throttled.
    Throttled(ClientKey),
    /// Logins, device codes and requests for tokens of a network that a policy throttled.
    ThrottledNetwork(Digest),
    /// Requests with an access token, by the digest of its `jti`.
    Token(Digest),
}

#[derive(Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

/// Fixed windows of a minute, in bounded memory, on this node.
pub struct Limits {
    failures_per_minute: u32,
    api_requests_per_minute: u32,
    windows: Cache<Counted, Window>,
}

/// Too many: come back after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// For `Retry-After`.
    pub retry_after: u32,
}

impl Limits {
    pub(crate) fn new(failures_per_minute: u32, api_requests_per_minute: u32) -> Self {
        Self {
            failures_per_minute,
            api_requests_per_minute,
            windows: Cache::new(50_000),
        }
    }

    /// Whether another attempt may be made; it is counted only when it fails.
    pub fn check_failures(&self, counted: &[Counted], at: Timestamp) -> Result<(), TooMany> {
        counted.iter().try_for_each(|counted| {
            let window = self.window(counted, at);
            exceeded(window, self.most(counted), at)
        })
    }

    /// Many clients may sit behind one address: it gets more.
    fn most(&self, counted: &Counted) -> u32 {
        match counted {
            Counted::Clients(_) => self.failures_per_minute.saturating_mul(CLIENTS_PER_ADDRESS),
            Counted::Address(_)
            | Counted::Client(..)
            | Counted::Imported(..)
            | Counted::Login(_)
            | Counted::Registration(_)
            | Counted::DeviceRequests(_)
            | Counted::PushedRequests(_)
            | Counted::UserCodesFrom(_)
            | Counted::UserCodesOf(_)
            | Counted::Throttled(_)
            | Counted::ThrottledNetwork(_)
            | Counted::Token(_) => self.failures_per_minute,
        }
    }

    /// Counts a failure.
    pub fn record_failure(&self, counted: &[Counted], at: Timestamp) {
        for counted in counted {
            self.add(counted, at);
        }
    }

    /// Counts a request to the API.
    pub fn check_request(&self, token: Digest, at: Timestamp) -> Result<(), TooMany> {
        if self.api_requests_per_minute == 0 {
            return Ok(());
        }
        let counted = Counted::Token(token);
        exceeded(self.window(&counted, at), self.api_requests_per_minute, at)?;
        self.add(&counted, at);
        Ok(())
    }

    /// Counts an attempt, where there were not too many. One that turns out well is given back ([`Self::forgive`]): so
    /// no number of attempts at once passes the limit.
    pub fn check_and_count(&self, counted: &[Counted], most: u32, at: Timestamp) -> Result<(), TooMany> {
        for counted in counted {
            exceeded(self.window(counted, at), most, at)?;
        }
        self.record_failure(counted, at);
        Ok(())
    }

    /// Gives back what was counted of an attempt.
    pub fn forgive(&self, counted: &[Counted], at: Timestamp) {
        for counted in counted {
            let Window { since, count } = self.window(counted, at);
            let count = count.saturating_sub(1);
            self.windows.insert(counted.clone(), Window { since, count });
        }
    }

    fn window(&self, counted: &Counted, at: Timestamp) -> Window {
        self.windows
            .get(counted)
            .filter(|window| at < window.since + TimeDelta::minutes(1))
            .unwrap_or(Window { since: at, count: 0 })
    }

    fn add(&self, counted: &Counted, at: Timestamp) {
        // Two requests at the same instant may count as one: a limit, not an account.
        let Window { since, count } = self.window(counted, at);
        self.windows.insert(
            counted.clone(),
            Window {
                since,
                count: count.saturating_add(1),
            },
        );
    }
}

fn exceeded(window: Window, most: u32, at: Timestamp) -> Result<(), TooMany> {
    if window.count < most {
        return Ok(());
    }
    let left = (window.since + TimeDelta::minutes(1) - at).num_seconds();
    Err(TooMany {
        retry_after: u32::try_from(left).unwrap_or_default().max(1),
    })
}

/// The address that failures are counted under: one person's IPv6 network is one source.
#[must_use]
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_a_minute_and_then_ends() {
        let limits = Limits::new(2, 0);
        let start = chrono::DateTime::UNIX_EPOCH;
        let who = [Counted::Login(Digest::of(b"x"))];
        for _ in 0..2 {
            assert_eq!(limits.check_failures(&who, start), Ok(()));
            limits.record_failure(&who, start);
        }
        let later = start + TimeDelta::seconds(20);
        assert_eq!(
            limits.check_failures(&who, later),
            Err(TooMany { retry_after: 40 })
        );
        assert_eq!(
            limits.check_failures(&who, start + TimeDelta::seconds(60)),
            Ok(())
        );
    }
}
