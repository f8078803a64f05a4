use cqrs_es::Aggregate;

use super::*;

fn definition(batch: u32) -> Box<StreamDefinition> {
    Box::new(StreamDefinition {
        target: StreamTarget::Webhook {
            url: "https://siem.example/hook".into(),
            batched: false,
        },
        filter: StreamFilter::default(),
        batch,
        attempts: 3,
        on_failure: OnFailure::DeadLetter,
        secrets: Vec::new(),
    })
}

#[test]
fn a_stream_is_defined_once_changed_paused_resumed_and_may_come_again() {
    let mut stream = Stream::default();
    let define = |name: &str, batch| StreamCommand::Define {
        name: name.into(),
        definition: definition(batch),
        after: 7,
    };
    let reason = || "maintenance".to_owned();
    for (name, batch, refusal) in [
        ("Siem", 1, StreamRefusal::MalformedName),
        ("siem", 0, StreamRefusal::Measure),
    ] {
        assert_eq!(stream.decide(&define(name, batch)).outcome, Err(refusal));
    }
    assert_eq!(
        stream.decide(&StreamCommand::Resume).outcome,
        Err(StreamRefusal::Unknown)
    );
    let mut names = Vec::new();
    for command in [
        define("siem", 1),
        StreamCommand::Change(definition(1), SecretChange::Keep),
        StreamCommand::Change(definition(2), SecretChange::Keep),
        StreamCommand::Pause { reason: reason() },
        StreamCommand::Pause { reason: reason() },
        StreamCommand::Resume,
        StreamCommand::Resume,
        StreamCommand::Remove { reason: reason() },
        define("siem", 1),
    ] {
        for event in stream.decide(&command).events {
            names.push(cqrs_es::DomainEvent::event_type(&event));
            stream.apply(event);
        }
    }
    assert_eq!(
        names,
        [
            "StreamDefined",
            "StreamChanged",
            "StreamPaused",
            "StreamResumed",
            "StreamRemoved",
            "StreamDefined"
        ]
    );
    assert_eq!(stream.generation, 2);
    assert_eq!(
        stream.decide(&define("siem", 1)).outcome,
        Err(StreamRefusal::Exists)
    );
}

#[test]
fn a_stream_stays_of_its_kind() {
    let mut stream = Stream::default();
    let define = StreamCommand::Define {
        name: "siem".into(),
        definition: definition(1),
        after: 7,
    };
    for event in stream.decide(&define).events {
        stream.apply(event);
    }
    let mut other = definition(1);
    other.target = StreamTarget::Nats {
        url: "nats://127.0.0.1".into(),
        prefix: "grantlog".into(),
    };
    let other = StreamCommand::Change(other, SecretChange::Keep);
    assert_eq!(stream.decide(&other).outcome, Err(StreamRefusal::OtherKind));
}

/// A stream of OCSF by HTTP with two secrets, the first of them the newest.
fn with_secrets() -> (Stream, [KeyId; 3]) {
    let keys = [1, 2, 3].map(|n| KeyId(Uuid::from_u128(n)));
    let mut definition = definition(1);
    definition.target = StreamTarget::OcsfHttp {
        url: "https://siem.example/ocsf".into(),
    };
    definition.secrets = vec![keys[0], keys[1]];
    let mut stream = Stream::default();
    let define = StreamCommand::Define {
        name: "siem".into(),
        definition,
        after: 0,
    };
    for event in stream.decide(&define).events {
        stream.apply(event);
    }
    (stream, keys)
}

fn decided(stream: &mut Stream, command: &StreamCommand) -> Result<Vec<KeyId>, StreamRefusal> {
    let decision = stream.decide(command);
    decision.outcome?;
    for event in decision.events {
        stream.apply(event);
    }
    Ok(stream.defined.clone().unwrap().definition.secrets)
}

#[test]
fn credentials_go_to_no_other_server_than_the_one_that_they_were_given_for() {
    let (mut stream, keys) = with_secrets();
    let mut elsewhere = stream.defined.clone().unwrap().definition;
    let change = |url: &str, definition: &mut StreamDefinition, secrets| {
        definition.target = StreamTarget::OcsfHttp { url: url.into() };
        StreamCommand::Change(Box::new(definition.clone()), secrets)
    };
    let there = change("https://other.example/ocsf", &mut elsewhere, SecretChange::Keep);
    assert_eq!(decided(&mut stream, &there), Err(StreamRefusal::OtherServer));
    let same = change("https://siem.example/v2", &mut elsewhere, SecretChange::Keep);
    assert_eq!(decided(&mut stream, &same).unwrap(), keys[..2]);
    let own = change(
        "https://other.example/",
        &mut elsewhere,
        SecretChange::Replace(keys[2]),
    );
    assert_eq!(decided(&mut stream, &own).unwrap(), [keys[2]]);
    let none = change("https://third.example/", &mut elsewhere, SecretChange::Drop);
    assert!(decided(&mut stream, &none).unwrap().is_empty());
    let bare = change("https://fourth.example/", &mut elsewhere, SecretChange::Keep);
    assert!(decided(&mut stream, &bare).unwrap().is_empty());
}

#[test]
fn a_change_that_was_prepared_before_a_rotation_brings_no_old_secret_back() {
    let (mut stream, keys) = with_secrets();
    let mut prepared = stream.defined.clone().unwrap().definition;
    prepared.batch = 7;
    for (change, secrets) in [
        (SecretChange::Rotate(keys[2]), vec![keys[2], keys[0]]),
        (SecretChange::Retire, vec![keys[2]]),
    ] {
        let command = StreamCommand::ChangeSecrets(change);
        assert_eq!(decided(&mut stream, &command), Ok(secrets));
    }
    let command = StreamCommand::Change(Box::new(prepared), SecretChange::Keep);
    assert_eq!(decided(&mut stream, &command), Ok(vec![keys[2]]));
}
