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
        StreamCommand::Change(definition(1)),
        StreamCommand::Change(definition(2)),
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
    let mut other = definition(1);
    other.target = StreamTarget::Nats {
        url: "nats://127.0.0.1".into(),
        prefix: "grantlog".into(),
    };
    assert_eq!(
        stream.decide(&StreamCommand::Change(other)).outcome,
        Err(StreamRefusal::OtherKind)
    );
}
