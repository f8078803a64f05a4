//! What an event concerns: the clients, users, logins, grants, networks, keys and words that its columns name.
//!
//! Members are known by their names, wherever they stand in the payload, so an event that is added is found without a
//! line here, as long as its members keep to the names that all events share: `client`, `subject`, `session`, `grant`,
//! `network`, `kid`, `jkt`, `x5t#S256`, `certificate`, `reason`, `error`, `note`.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::key::{Key, Tag, words};
use crate::domain::AggregateType;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, RequestId, SessionId, SubjectId};

/// An event's columns, as far as they say what it concerns.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// The aggregate's type.
    pub kind: AggregateType,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// The event's name.
    pub event_type: &'a str,
    /// Its payload, JSON.
    pub payload: &'a str,
    /// Its metadata, JSON.
    pub metadata: &'a str,
}

/// What an event concerns, as the index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Everything that it names; sorted, each once.
    pub tags: Vec<Tag>,
    /// What later events of its aggregate concern too ([`super::origins`]).
    pub handed_on: Vec<Tag>,
}

/// What an event concerns by its own columns. JSON in another shape than expected is passed over: an event of a newer
/// build must not stop the index.
#[must_use]
pub fn of(event: &Columns<'_>) -> Concerns {
    let mut found = Concerns::default();
    found.add(&Key::EventType(event.event_type.to_owned()));
    let id = event.aggregate_id;
    for (kind, key) in [
        (AggregateType::Client, Key::Client(ClientKey(id))),
        (AggregateType::User, Key::Subject(SubjectId(id))),
        (AggregateType::Session, Key::Session(SessionId(id))),
        (AggregateType::Grant, Key::Grant(GrantId(id))),
    ] {
        if kind == event.kind {
            found.add(&key);
        }
    }
    found.metadata(event.metadata);
    let mut payload = serde_json::Deserializer::from_str(event.payload);
    let walk = Walk {
        found: &mut found,
        member: Member::Root,
        own: false,
    };
    // What stood before a mistake stays found.
    let _ = walk.deserialize(&mut payload);
    found.tags.sort_unstable();
    found.tags.dedup();
    found
}

#[derive(Deserialize)]
struct Circumstances<'a> {
    actor: Option<String>,
    request_id: Option<Uuid>,
    network: Option<Digest>,
    note: Option<String>,
    operator: Option<IgnoredAny>,
    #[serde(borrow)]
    authentication: Option<Authentication<'a>>,
}

#[derive(Deserialize)]
struct Authentication<'a> {
    kid: Option<String>,
    certificate: Option<&'a str>,
    secret: Option<u32>,
}

impl Concerns {
    fn add(&mut self, key: &Key) {
        self.tags.push(key.tag());
    }

    fn metadata(&mut self, text: &str) {
        let Ok(read) = serde_json::from_str::<Circumstances<'_>>(text) else {
            return;
        };
        let client = read.actor.as_deref().and_then(|actor| id(actor, "client:"));
        if let Some(client) = client {
            self.add(&Key::Client(ClientKey(client)));
        }
        // At the command line there is always one: what was done there is found by its actor.
        if client.is_some() && read.operator.is_some() {
            self.add(&Key::Operator);
        }
        if let Some(subject) = read.actor.as_deref().and_then(|actor| id(actor, "user:")) {
            self.add(&Key::Subject(SubjectId(subject)));
        }
        if let Some(how) = read.authentication {
            let texts = [how.kid, how.certificate.map(str::to_owned)];
            for text in texts.into_iter().flatten() {
                self.add(&Key::PublicKey(text));
            }
            if let Some((client, number)) = client.zip(how.secret) {
                self.add(&Key::Secret(ClientKey(client), number));
            }
        }
        let keys = [
            read.actor.map(Key::Actor),
            read.request_id.map(|id| Key::Request(RequestId(id))),
            read.network.map(Key::Network),
        ];
        for key in keys.iter().flatten() {
            self.add(key);
        }
        self.words(&read.note.unwrap_or_default());
    }

    fn words(&mut self, text: &str) {
        for word in words(text) {
            self.add(&Key::Word(word));
        }
    }
}

fn id(actor: &str, prefix: &str) -> Option<Uuid> {
    Uuid::try_parse(actor.strip_prefix(prefix)?).ok()
}

/// What a member's name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// The payload itself.
    Root,
    /// Whom an alert is about: as if its members stood in the payload itself.
    About,
    Client,
    Subject,
    Session,
    Grant,
    Network,
    PublicKey,
    Text,
    Other,
}

impl Member {
    fn named(name: &str) -> Self {
        match name {
            "about" => Self::About,
            "client" | "clients" => Self::Client,
            "subject" | "subjects" | "owner" => Self::Subject,
            "session" | "sessions" => Self::Session,
            "grant" | "grants" => Self::Grant,
            "network" | "networks" => Self::Network,
            "kid" | "jkt" | "x5t#S256" | "certificate" => Self::PublicKey,
            "reason" | "error" | "note" => Self::Text,
            _ => Self::Other,
        }
    }

    fn key(self, text: &str) -> Option<Key> {
        let id = || Uuid::try_parse(text).ok();
        match self {
            Self::Client => id().map(|id| Key::Client(ClientKey(id))),
            Self::Subject => id().map(|id| Key::Subject(SubjectId(id))),
            Self::Session => id().map(|id| Key::Session(SessionId(id))),
            Self::Grant => id().map(|id| Key::Grant(GrantId(id))),
            Self::Network => Digest::from_hex(text).map(Key::Network),
            Self::PublicKey => Some(Key::PublicKey(text.to_owned())),
            Self::Root | Self::About | Self::Text | Self::Other => None,
        }
    }
}

/// Goes through a value of the payload.
struct Walk<'a> {
    found: &'a mut Concerns,
    member: Member,
    /// Whether it is a member of the payload itself, not of something within.
    own: bool,
}

impl Walk<'_> {
    fn text(self, text: &str) {
        if self.member == Member::Text {
            self.found.words(text);
        }
        if let Some(key) = self.member.key(text) {
            self.found.add(&key);
            if self.own {
                self.found.handed_on.push(key.tag());
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { found, member, own } = self;
        while let Some(()) = elements.next_element_seed(Walk {
            found: &mut *found,
            member,
            own,
        })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let own = self.member == Member::Root || (self.member == Member::About && self.own);
        while let Some(member) = members.next_key_seed(Name)? {
            let found = &mut *self.found;
            members.next_value_seed(Walk { found, member, own })?;
        }
        Ok(())
    }
}

/// Reads a member's name without keeping it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Member, E> {
        Ok(Member::named(name))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Member, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: AggregateType, payload: &str, metadata: &str) -> Concerns {
        of(&Columns {
            kind,
            aggregate_id: Uuid::from_u128(1),
            event_type: "E",
            payload,
            metadata,
        })
    }

    fn has(found: &Concerns, key: &Key) -> bool {
        found.tags.binary_search(&key.tag()).is_ok()
    }

    #[test]
    fn an_event_concerns_what_it_names_at_any_depth() {
        let (a, b, c) = (Uuid::from_u128(10), Uuid::from_u128(11), Uuid::from_u128(12));
        let payload = format!(
            r#"{{"access":{{"confirmation":{{"jkt":"thumb"}}}},"client":"{a}","clients":["{b}"],
                "earlier":[{{"grant":"{c}","client":"{c}"}}],"reason":"code_replayed","subject":"{b}","x":[1,null,true,2.5]}}"#
        );
        let network = Digest::of(b"network");
        let metadata = format!(
            r#"{{"actor":"client:{c}","authentication":{{"kid":"k1","method":"m","secret":2}},"endpoint":"/x",
                "network":"{network}","note":"Because, of it","request_id":"{a}"}}"#
        );
        let found = found(AggregateType::Grant, &payload, &metadata);
        let own = [
            Key::EventType("E".to_owned()),
            Key::Grant(GrantId(Uuid::from_u128(1))),
            Key::Grant(GrantId(c)),
            Key::Client(ClientKey(a)),
            Key::Client(ClientKey(b)),
            Key::Client(ClientKey(c)),
            Key::Subject(SubjectId(b)),
            Key::PublicKey("thumb".to_owned()),
            Key::PublicKey("k1".to_owned()),
            Key::Secret(ClientKey(c), 2),
            Key::Actor(format!("client:{c}")),
            Key::Network(network),
            Key::Request(RequestId(a)),
        ];
        let words = ["code", "replayed", "because", "of", "it"].map(|word| Key::Word(word.to_owned()));
        for key in own.iter().chain(&words) {
            assert!(has(&found, key), "{key:?}");
        }
        assert_eq!(found.tags.len(), own.len() + words.len(), "and nothing else");
        let handed_on = [
            Key::Client(ClientKey(a)),
            Key::Client(ClientKey(b)),
            Key::Subject(SubjectId(b)),
        ];
        assert_eq!(
            found.handed_on,
            handed_on.map(|key| key.tag()),
            "but not what stands deeper"
        );
    }

    #[test]
    fn whom_an_alert_is_about_is_handed_on() {
        let id = Uuid::from_u128(10);
        let found = found(
            AggregateType::Alert,
            &format!(r#"{{"about":{{"grant":"{id}"}}}}"#),
            "{}",
        );
        assert_eq!(found.handed_on, [Key::Grant(GrantId(id)).tag()]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_json_an_event_holds_it_is_indexed(payload in ".*", metadata in ".*") {
            let found = found(AggregateType::Client, &payload, &metadata);
            proptest::prop_assert!(has(&found, &Key::EventType("E".to_owned())));
        }
    }
}
