//! The mapping, on events of each class.

use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::domain::LedgerEvent;
use crate::domain::grant::{CodeReplayed, GrantEvent, Reason, Target, TokenRevoked};
use crate::domain::refusal::{RefusalEvent, RequestRefused};
use crate::domain::user::{PasswordChanged, PasswordRehashed, UserEvent};
use crate::domain::value::Sealed;
use crate::ids::{ClientKey, SubjectId};

fn metadata(actor: &str) -> Metadata {
    serde_json::from_value(json!({
        "actor": actor, "caller": null, "endpoint": "/oauth/token", "network": null,
        "request_id": Uuid::nil(), "trace_id": null,
    }))
    .unwrap()
}

fn exported(event: &Event, event_type: &str, actor: &str) -> Result<Value, &'static str> {
    let (metadata, payload) = (metadata(actor), json!({"digest": "…"}));
    let record = Record {
        position: 42,
        sequence: 3,
        aggregate_type: "grant",
        aggregate_id: Uuid::nil(),
        event_type,
        event,
        payload: &payload,
        metadata: &metadata,
        recorded_at: DateTime::UNIX_EPOCH,
    };
    export(&record, "https://id.example")
}

#[test]
fn an_event_says_where_it_stands_in_the_ledger_and_keeps_what_its_class_has_no_member_for() {
    let replayed = CodeReplayed {
        client: ClientKey(Uuid::nil()),
        at: DateTime::UNIX_EPOCH,
    };
    let event = exported(&Event::Grant(replayed.into()), "CodeReplayed", "anonymous").unwrap();
    assert_eq!(
        (&event["class_uid"], &event["type_uid"]),
        (&json!(3002), &json!(300_203))
    );
    assert_eq!(
        (&event["severity_id"], &event["status_id"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(event["status_detail"], "code_replayed");
    assert_eq!(event["metadata"]["uid"], "42");
    assert_eq!(event["metadata"]["sequence"], 42);
    assert_eq!(event["metadata"]["original_time"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(event["time"], 0);
    assert_eq!(event["unmapped"]["payload"], json!({"digest": "…"}));
    assert_eq!(event["http_request"]["url"]["path"], "/oauth/token");
}

#[test]
fn who_changed_a_password_decides_whether_it_was_a_change_or_a_reset() {
    let password = Sealed(String::new());
    let changed: UserEvent = PasswordChanged {
        password: password.clone(),
    }
    .into();
    for (actor, activity) in [("user:x", 3), ("command_line", 4)] {
        let event = exported(&Event::User(changed.clone()), changed.name(), actor).unwrap();
        assert_eq!(
            (&event["class_uid"], &event["activity_id"]),
            (&json!(3001), &json!(activity))
        );
    }
    let rehashed: UserEvent = PasswordRehashed { password }.into();
    assert!(exported(&Event::User(rehashed), "PasswordRehashed", "user:x").is_err());
}

#[test]
fn a_failed_login_is_an_authentication_and_another_refusal_a_call() {
    let refused = |reason: &str, subject| {
        let event: RefusalEvent = RequestRefused {
            endpoint: "/oauth/authorize".to_owned(),
            error: "access_denied".to_owned(),
            reason: reason.to_owned(),
            client: None,
            subject,
            grant: None,
        }
        .into();
        exported(&Event::Refusal(event), "RequestRefused", "anonymous").unwrap()
    };
    let login = refused("wrong_password", Some(SubjectId(Uuid::nil())));
    assert_eq!(
        (&login["type_uid"], &login["status_id"]),
        (&json!(300_201), &json!(2))
    );
    let call = refused("scope_unknown", None);
    assert_eq!(
        (&call["class_uid"], &call["status_detail"]),
        (&json!(6003), &json!("scope_unknown"))
    );
    for required in ["actor", "api", "src_endpoint"] {
        assert!(call[required].is_object(), "{call}");
    }
    let revoked: GrantEvent = TokenRevoked {
        target: Target::Family,
        reason: Reason::RefreshReplayed,
        at: DateTime::UNIX_EPOCH,
    }
    .into();
    let event = exported(&Event::Grant(revoked), "TokenRevoked", "system").unwrap();
    assert_eq!(
        (&event["type_uid"], &event["severity_id"]),
        (&json!(600_304), &json!(4))
    );
}

#[test]
fn each_activity_is_one_of_its_class_and_an_id_says_one_thing() {
    for class in Class::ALL {
        let (category, _) = class.category();
        assert_eq!(class.uid() / 1000, category);
    }
}
