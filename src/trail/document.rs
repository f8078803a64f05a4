//! An event as JSON, as auditors are shown it.

use std::borrow::Cow;

use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use crate::crypto::vault::{KeyOwner, Place};
use crate::ids::SubjectId;
use crate::ledger::{Caller, LANE, Ledger, LedgerError, Metadata, Operator, StoredEvent};

fn unreadable(error: serde_json::Error) -> LedgerError {
    LedgerError::Read(sqlx::Error::Decode(error.into()))
}

/// Payload and metadata as they stand in the ledger, but for what checks a chosen secret: that can be tried against
/// guesses.
pub fn of(event: &StoredEvent) -> Result<Value, LedgerError> {
    let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text).map_err(unreadable);
    Ok(json!({
        "position": event.position, "recorded_at": event.recorded_at,
        "aggregate_type": event.aggregate_type, "aggregate_id": event.aggregate_id, "sequence": event.sequence,
        "event_type": event.event_type, "event_version": event.event_version,
        "payload": raw(&payload(event)?)?, "metadata": raw(&event.metadata)?,
    }))
}

/// An event's payload without what checks a chosen secret.
pub fn payload(event: &StoredEvent) -> Result<Cow<'_, str>, LedgerError> {
    let mut payload: Value = serde_json::from_str(&event.payload).map_err(unreadable)?;
    Ok(if withhold(&mut payload) {
        Cow::Owned(payload.to_string())
    } else {
        Cow::Borrowed(&event.payload)
    })
}

/// Takes out of a payload what checks a chosen secret, which stays in the ledger. Whether there was any.
pub fn withhold(payload: &mut Value) -> bool {
    let Some(verifier) = payload.get_mut("verifier").and_then(Value::as_object_mut) else {
        return false;
    };
    verifier.values_mut().for_each(|value| *value = json!("withheld"));
    true
}

/// An event, and the people in it whose names and addresses could be decrypted.
#[derive(Debug)]
pub struct WithPeople<'a> {
    /// The event.
    pub event: &'a StoredEvent,
    /// Its metadata.
    pub metadata: Metadata,
    /// The person at the command line.
    pub operator: Option<Operator>,
    /// The caller, where that was to be revealed.
    pub caller: Option<Caller>,
}

impl<'a> WithPeople<'a> {
    /// Decrypts the operator's name, and the caller if `revealing`.
    pub async fn of(ledger: &Ledger, event: &'a StoredEvent, revealing: bool) -> Result<Self, LedgerError> {
        let metadata = Metadata::read(&event.metadata)?;
        let operator = operator(ledger, event, &metadata).await?;
        let caller = if revealing {
            caller(ledger, event).await?
        } else {
            None
        };
        Ok(Self {
            event,
            metadata,
            operator,
            caller,
        })
    }

    /// As [`of`], with these people.
    pub fn document(&self) -> Result<Value, LedgerError> {
        let mut document = of(self.event)?;
        if let Some(members) = document.as_object_mut() {
            let caller = self.caller.as_ref();
            members.extend(caller.map(|caller| ("caller".to_owned(), json!(caller))));
            let operator = self.operator.as_ref();
            members.extend(operator.map(|operator| ("operator".to_owned(), json!(operator))));
        }
        Ok(document)
    }
}

/// As [`of`], with the person at the command line, and the caller where that is to be revealed.
pub async fn with_people(
    ledger: &Ledger,
    event: &StoredEvent,
    revealing: bool,
) -> Result<Value, LedgerError> {
    WithPeople::of(ledger, event, revealing).await?.document()
}

/// The person at the command line; none where no name was recorded.
pub async fn operator(
    ledger: &Ledger,
    event: &StoredEvent,
    metadata: &Metadata,
) -> Result<Option<Operator>, LedgerError> {
    let place = (
        event.aggregate_type.as_str(),
        event.aggregate_id,
        event.event_type.as_str(),
    );
    metadata.operator(ledger.vault(), place, event.recorded_at).await
}

/// The caller's address and agent; none where there is none, or the key to it is destroyed.
pub async fn caller(ledger: &Ledger, event: &StoredEvent) -> Result<Option<Caller>, LedgerError> {
    let metadata = Metadata::read(&event.metadata)?;
    let Some(sealed) = &metadata.caller else {
        return Ok(None);
    };
    let place = Place {
        aggregate_type: &event.aggregate_type,
        aggregate_id: event.aggregate_id,
        event_type: &event.event_type,
        field: "metadata.caller",
    };
    for subject in subjects(ledger, event, &metadata).await? {
        let owner = KeyOwner::network(subject, event.recorded_at);
        let Some(key) = ledger.vault().find(&owner).await? else {
            continue;
        };
        // Under another subject's key it does not open, which is how the right one is found.
        if let Ok(plain) = key.open(&place, sealed) {
            return Ok(serde_json::from_str(&plain).ok());
        }
    }
    Ok(None)
}

/// Whose network data it may be: the actor's, the one that the event or its grant names, or nobody's.
async fn subjects(
    ledger: &Ledger,
    event: &StoredEvent,
    metadata: &Metadata,
) -> Result<Vec<Option<SubjectId>>, LedgerError> {
    let parse = |text: &str| Uuid::try_parse(text).ok().map(SubjectId);
    let mut subjects = vec![None];
    subjects.extend(metadata.actor.strip_prefix("user:").map(parse));
    let payload: Value = serde_json::from_str(&event.payload).map_err(unreadable)?;
    subjects.extend(payload.get("subject").and_then(Value::as_str).map(parse));
    match event.aggregate_type.as_str() {
        "user" => subjects.push(Some(SubjectId(event.aggregate_id))),
        "grant" | "session" => {
            // Only their first events name the user: a device's grant has one from the second on.
            let first: Vec<Option<String>> = sqlx::query_scalar(
                "SELECT payload->>'subject' FROM grantlog.ledger \
                 WHERE lane = $1 AND aggregate_type = $2 AND aggregate_id = $3 AND sequence <= 2",
            )
            .bind(LANE)
            .bind(&event.aggregate_type)
            .bind(event.aggregate_id)
            .fetch_all(ledger.pool())
            .await?;
            subjects.extend(first.iter().flatten().map(|text| parse(text)));
        }
        _ => {}
    }
    Ok(subjects)
}
