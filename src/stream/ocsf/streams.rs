//! The events of streams, this one's own among them, of event streams of shared signals, of networks and of uses of tokens.

use uuid::Uuid;

use super::class::Activity;
use super::mapping::{Mapped, Mapping};
use crate::domain::alert::Severity;
use crate::domain::network::NetworkEvent;
use crate::domain::ssf_stream::{SsfStreamEvent, StreamStatus};
use crate::domain::stream::StreamEvent;
use crate::domain::token_use::TokenUseEvent;

pub(super) fn map_stream(event: &StreamEvent, id: Uuid) -> Mapped {
    let entity = |activity| Mapping::entity(activity, "stream", &id, None);
    match event {
        StreamEvent::StreamDefined(event) => {
            Mapping::entity(Activity::ENTITY_CREATE, "stream", &id, Some(&event.name))
        }
        StreamEvent::StreamChanged(_) | StreamEvent::RedeliveryRequested(_) => {
            entity(Activity::ENTITY_UPDATE)
        }
        StreamEvent::StreamPaused(_) => entity(Activity::ENTITY_SUSPEND).graver(Severity::Low),
        StreamEvent::StreamResumed(_) => entity(Activity::ENTITY_RESUME),
        StreamEvent::DeadLettersDiscarded(_) => entity(Activity::ENTITY_UPDATE).graver(Severity::Low),
        StreamEvent::StreamRemoved(_) => entity(Activity::ENTITY_DELETE).graver(Severity::Low),
    }
    .into()
}

pub(super) fn map_ssf_stream(event: &SsfStreamEvent, id: Uuid) -> Mapped {
    let activity = match event {
        SsfStreamEvent::SsfStreamCreated(_) => Activity::ENTITY_CREATE,
        SsfStreamEvent::SsfStreamConfigured(_)
        | SsfStreamEvent::SsfSubjectAdded(_)
        | SsfStreamEvent::SsfSubjectRemoved(_) => Activity::ENTITY_UPDATE,
        SsfStreamEvent::SsfStreamStatusChanged(event) => match event.status {
            StreamStatus::Enabled => Activity::ENTITY_ENABLE,
            StreamStatus::Paused => Activity::ENTITY_SUSPEND,
            StreamStatus::Disabled => Activity::ENTITY_DISABLE,
        },
        SsfStreamEvent::SsfStreamDeleted(_) => Activity::ENTITY_DELETE,
    };
    Mapping::entity(activity, "SSF event stream", &id, None).into()
}

pub(super) fn map_network(event: &NetworkEvent, id: Uuid) -> Mapped {
    match event {
        NetworkEvent::NetworkThrottled(_) => {
            Mapping::entity(Activity::ENTITY_UPDATE, "network", &id, None).graver(Severity::Medium)
        }
        NetworkEvent::NetworkThrottleLifted(_) => {
            Mapping::entity(Activity::ENTITY_UPDATE, "network", &id, None)
        }
    }
    .into()
}

pub(super) fn map_token_use(event: &TokenUseEvent) -> Mapped {
    match event {
        TokenUseEvent::TokenUseCounted(_) => Mapped::Not("counts of an hour, and no act of anybody's"),
    }
}
