//! Each resource, with answers that are what the document says.

use serde_json::{Value, json};

use super::{Administered, error};
use crate::command_line::{finish, grantlog_on};
use crate::policies::{replay, watch};
use crate::token::text;

const NONE: (&[(&str, &str)], &str) = (&[], "");

#[expect(clippy::unnecessary_wraps, reason = "a call takes a body or none")]
fn because(reason: &str) -> Option<Value> {
    Some(json!({"reason": reason}))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_registered_changed_blocked_and_listed_in_pages() {
    let administered = Administered::new().await;
    let metadata = json!({"client_name": "Shop", "client_id": "shop", "redirect_uris": ["https://shop.example/cb"],
        "scope": "view-user detail-user", "token_endpoint_auth_method": "client_secret_basic"});
    let created = administered
        .done("createClient", NONE, Some(metadata.clone()))
        .await;
    assert!(text(&created, "client_secret").starts_with("gls_"));
    let (status, refused) = administered.call("createClient", NONE, Some(metadata)).await;
    assert_eq!((status, error(&refused)), (409, "conflict"), "{refused}");
    let mistaken = json!({"client_name": "Shop", "redirect_uri": "https://shop.example/cb"});
    let (status, refused) = administered.call("createClient", NONE, Some(mistaken)).await;
    assert_eq!(status, 400);
    assert!(text(&refused, "message").contains("redirect_uri"), "{refused}");

    let shop: (&[(&str, &str)], &str) = (&[("client_id", "shop")], "");
    let patch = json!({"client_name": "The Shop", "access_token_lifetime": 7200});
    let changed = administered.done("updateClient", shop, Some(patch)).await;
    assert_eq!(
        (text(&changed, "client_name"), text(&changed, "scope")),
        ("The Shop", "detail-user view-user")
    );
    assert!(!changed["warnings"].as_array().unwrap().is_empty());
    let suspended = administered
        .done("suspendClient", shop, because("an incident"))
        .await;
    assert_eq!(suspended["standing"], "suspended");
    let (status, refused) = administered.call("suspendClient", shop, because("  ")).await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    let reinstated = administered
        .done("reinstateClient", shop, because("it was a drill"))
        .await;
    assert_eq!(reinstated["standing"], "active");
    let rotated = administered
        .done("rotateClientSecret", shop, Some(json!({"overlap_seconds": 60})))
        .await;
    assert_ne!(rotated["client_secret"], created["client_secret"]);
    administered
        .done("issueRegistrationToken", shop, Some(json!({})))
        .await;
    let approval = json!({"scope": "detail-user", "step": "approved", "reason": "it shows addresses"});
    let approved = administered.done("approveScope", shop, Some(approval)).await;
    assert_eq!(
        approved["approvals"]["detail-user"]["reason"],
        "it shows addresses"
    );
    assert_eq!(administered.done("showClient", shop, None).await, approved);
    administered
        .done("revokeClient", shop, because("it is gone"))
        .await;
    let (status, refused) = administered.call("suspendClient", shop, because("again")).await;
    assert_eq!((status, error(&refused)), (409, "conflict"));
    let (status, _) = administered
        .call("showClient", (&[("client_id", "nobody")], ""), None)
        .await;
    assert_eq!(status, 404);

    let first = administered.done("listClients", (&[], "?limit=1"), None).await;
    let after = format!("?after={}", first["next"]);
    let rest = administered.done("listClients", (&[], &after), None).await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|client| text(client, "client_id").to_owned()).collect()
    };
    assert_eq!(ids(&first), std::slice::from_ref(&administered.party.client_id));
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (vec!["shop".to_owned()], &Value::Null)
    );
    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=x",
        "?other=1",
        "?after=1&after=2",
    ] {
        let (status, refused) = administered.call("listClients", (&[], query), None).await;
        assert_eq!((status, error(&refused)), (400, "validation_error"), "{query}");
    }
    // No secret is in what was told later, and what was done is on the trail with who did it and why.
    let secret = text(&created, "client_secret");
    assert!(!rest.to_string().contains(secret));
    let by = format!("metadata->>'actor' = 'client:{}'", administered.party.key);
    let noted = format!("event_type = 'ClientReinstated' AND {by} AND metadata->>'note' = 'it was a drill'");
    assert_eq!(administered.count(&noted).await, 1);
    let read = format!("event_type = 'LedgerRead' AND {by} AND metadata->>'endpoint' = '/admin/clients'");
    // The five that were refused read nothing.
    assert_eq!(administered.count(&read).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_registered_held_and_erased_by_whoever_may() {
    let administered = Administered::new().await;
    let grace = json!({"username": "grace", "name": "Grace", "email": "grace@example.com",
        "password": "correct horse battery", "claims": {"given_name": "Grace"}});
    let created = administered.done("createUser", NONE, Some(grace)).await;
    let sub = text(&created, "sub").to_owned();
    let path: &[(&str, &str)] = &[("sub", &sub)];
    assert_eq!(created["claims"]["given_name"], "Grace");
    let found = administered
        .done("lookupUser", NONE, Some(json!({"user": "GRACE"})))
        .await;
    assert_eq!(found, created);
    let changed = administered
        .done(
            "updateUser",
            (path, ""),
            Some(json!({"given_name": null, "name": "G."})),
        )
        .await;
    assert_eq!(
        (&changed["claims"], &changed["name"]),
        (&Value::Null, &json!("G."))
    );
    let (status, refused) = administered
        .call("setPassword", (path, ""), Some(json!({"password": "short"})))
        .await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    administered
        .done(
            "setPassword",
            (path, ""),
            Some(json!({"password": "another horse battery"})),
        )
        .await;
    let disabled = administered
        .done("disableUser", (path, ""), because("on leave"))
        .await;
    assert_eq!(disabled["state"], "disabled");
    administered.done("enableUser", (path, ""), Some(json!({}))).await;
    let held = administered.done("holdUser", (path, ""), because("a case")).await;
    assert_eq!(held["legal_hold"]["reason"], "a case");
    // Words about others, too, were written over this API.
    let other = administered.party.subject.to_string();
    administered
        .done(
            "disableUser",
            (&[("sub", other.as_str())], ""),
            because("lent it to Grace"),
        )
        .await;
    let named: i64 = sqlx::query_scalar("SELECT max(position) FROM grantlog.ledger_user")
        .fetch_one(administered.party.server.app.ledger.pool())
        .await
        .unwrap();
    let telling = json!({"dry_run": true, "reason": "Grace asked for it"});
    let (status, refused) = administered.call("eraseUser", (path, ""), Some(telling)).await;
    assert_eq!((status, error(&refused)), (400, "validation_error"), "{refused}");
    let inventory = administered
        .done("eraseUser", (path, ""), Some(json!({"dry_run": true})))
        .await;
    assert_eq!(
        (&inventory["dry_run"], &inventory["destroyed"]["personal_key"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(inventory["named_in_clear"], json!([named]));
    let erase = || Some(json!({"dry_run": false, "reason": "asked for"}));
    let (status, refused) = administered.call("eraseUser", (path, ""), erase()).await;
    assert_eq!((status, error(&refused)), (409, "conflict"));
    administered
        .done("releaseUser", (path, ""), because("the case is closed"))
        .await;
    let erased = administered.done("eraseUser", (path, ""), erase()).await;
    assert_eq!(
        (&erased["tables_behind"], &erased["not_blanked"]),
        (&json!(false), &json!([]))
    );
    let table: Option<String> =
        sqlx::query_scalar("SELECT username FROM public.users WHERE subject = $1::uuid")
            .bind(&sub)
            .fetch_one(administered.party.server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(table, None);
    let shown = administered.done("showUser", (path, ""), None).await;
    assert_eq!(shown, json!({"sub": sub, "state": "erased"}));
    let users = administered.done("listUsers", NONE, None).await;
    assert_eq!(users["items"].as_array().unwrap().len(), 2);
    for (id, status) in [("0190a5b5-0000-7000-8000-000000000000", 404), ("grace", 400)] {
        let answer = administered.call("showUser", (&[("sub", id)], ""), None).await;
        assert_eq!(answer.0, status, "{id}: {}", answer.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_found_shown_as_it_was_compared_and_revoked() {
    let administered = Administered::new().await;
    let party = &administered.party;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let (_, second) = party.refresh(text(&first, "refresh_token")).await;
    party.server.settle().await;
    let subject = party.subject.to_string();
    let query = format!("?user={subject}&client={}&state=live", party.client_id);
    let listed = administered.done("listGrants", (&[], &query), None).await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[0]["flow"]),
        (1, &json!("authorization_code")),
        "{listed}"
    );
    let grant = text(&items[0], "grant").to_owned();
    let path: &[(&str, &str)] = &[("id", &grant)];
    let shown = administered.done("showGrant", (path, ""), None).await;
    let events = shown["events"].as_array().unwrap();
    let before = &events[events.len() - 2];
    // As it was before the refresh: by the position, and by the moment.
    for at in [&before["position"], &before["recorded_at"]] {
        let at = at
            .as_str()
            .map_or_else(|| at.to_string(), |at| at.replace('+', "%2B"));
        let then = administered
            .done("showGrant", (path, &format!("?at={at}")), None)
            .await;
        assert_eq!(then["lineage"]["tokens"].as_array().unwrap().len(), 1, "{at}");
        assert_eq!(then["state"]["refresh"]["current"]["number"], 1);
    }
    for (query, status) in [
        ("?at=999999", 400),
        ("?at=2999-01-01T00:00:00Z", 400),
        ("?at=yesterday", 400),
        ("?at=1", 404),
    ] {
        let (answered, body) = administered.call("showGrant", (path, query), None).await;
        assert_eq!(answered, status, "{query}: {body}");
    }
    let query = format!("?from={}", before["position"]);
    let changed = administered.done("diffGrant", (path, &query), None).await;
    let paths: Vec<&str> = changed["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| text(one, "path"))
        .collect();
    assert!(paths.contains(&"refresh.current.number"), "{paths:?}");
    assert_eq!(changed["events"].as_array().unwrap().len(), 1);

    let token = text(&second, "access_token");
    let radius = json!({"of": "token", "value": token});
    let reached = administered.done("measureBlastRadius", NONE, Some(radius)).await;
    assert_eq!(reached["could"]["scopes"], json!(["view-user"]));
    let (status, _) = administered
        .call(
            "measureBlastRadius",
            NONE,
            Some(json!({"of": "token", "value": "nonsense"})),
        )
        .await;
    assert_eq!(status, 404);

    let revoked = administered
        .done("revokeGrant", (path, ""), because("lost"))
        .await;
    assert_eq!(revoked["state"], "revoked");
    assert!(!party.is_active(token).await);
    let of_user = format!("?user={subject}&state=live");
    assert_eq!(
        administered.done("listGrants", (&[], &of_user), None).await["items"],
        json!([])
    );
    let uses = format!("?grant={grant}");
    administered.done("listTokenUses", (&[], &uses), None).await;
    // What was read is on the trail, and nothing of the credential.
    let reads = format!("event_type = 'LedgerRead' AND payload->>'grant' = '{grant}'");
    assert_eq!(administered.count(&reads).await, 7);
    assert_eq!(
        administered
            .count(&format!("payload::text LIKE '%{token}%'"))
            .await,
        0
    );

    let search = format!("?grant={grant}&event=TokenRevoked,RefreshRotated&order=oldest&limit=1");
    let page = administered.done("searchTrail", (&[], &search), None).await;
    assert_eq!(page["items"][0]["event_type"], "RefreshRotated");
    let after = format!("{search}&after={}", page["next"]);
    let page = administered.done("searchTrail", (&[], &after), None).await;
    assert_eq!(page["items"][0]["metadata"]["note"], "lost");
    assert_eq!(
        page["items"][0]["metadata"]["actor"],
        format!("client:{}", party.key)
    );
    let revealed = administered
        .done(
            "searchTrail",
            (&[], "?actor=command_line&reveal=true&address=127.0.0.1"),
            None,
        )
        .await;
    assert_eq!(revealed["items"], json!([]));
    for query in [
        "?event=Nothing",
        "?actor=somebody",
        "?client=nobody",
        "?address=x",
        "?from=9&to=3",
        "?reason=%20",
    ] {
        let (status, body) = administered.call("searchTrail", (&[], query), None).await;
        assert_eq!((status, error(&body)), (400, "validation_error"), "{query}");
    }
    let (_, refused) = party.api("/api/user", "nonsense").await;
    let request = text(&refused, "request_id").to_owned();
    let why = administered
        .done("explainRefusal", (&[("request_id", &request)], ""), None)
        .await;
    assert_eq!(why["reason"], "not_our_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_set_and_tried_and_access_is_taken_away_with_a_record() {
    let administered = Administered::new().await;
    let party = &administered.party;
    let rules = administered.done("listPolicies", NONE, None).await;
    let rule = text(&rules["items"][0], "rule").to_owned();
    let path: &[(&str, &str)] = &[("rule", &rule)];
    let off = administered
        .done("disablePolicy", (path, ""), because("too loud"))
        .await;
    assert_eq!(off["enabled"], false);
    assert_eq!(
        administered.done("showPolicy", (path, ""), None).await["enabled"],
        false
    );
    let (status, _) = administered
        .call("enablePolicy", (path, ""), Some(json!({"threshold": 0})))
        .await;
    assert_eq!(status, 400);
    administered
        .done(
            "enablePolicy",
            (path, ""),
            Some(json!({"action": "alert", "reason": "quiet again"})),
        )
        .await;
    let tried = administered
        .done("backtestPolicies", NONE, Some(json!({"rules": [rule]})))
        .await;
    assert_eq!(tried["items"][0]["rule"], *rule);
    let (status, _) = administered
        .call("backtestPolicies", NONE, Some(json!({"rules": ["nothing"]})))
        .await;
    assert_eq!(status, 400);

    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let token = text(&tokens, "access_token");
    let contain = |dry_run: bool| {
        let subject = party.subject.to_string();
        Some(json!({"by": "user", "value": subject, "reason": "stolen laptop", "dry_run": dry_run}))
    };
    let would = administered.done("contain", NONE, contain(true)).await;
    assert_eq!(would["grants"].as_array().unwrap().len(), 1);
    assert!(party.is_active(token).await);
    let done = administered.done("contain", NONE, contain(false)).await;
    assert_eq!(done["grants"], would["grants"]);
    assert!(!party.is_active(token).await);
    let (status, refused) = administered
        .call("contain", NONE, Some(json!({"by": "window", "reason": "x"})))
        .await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    party.server.settle().await;
    let alerts = administered.done("listAlerts", (&[], "?open=true"), None).await;
    let alert = text(&alerts["items"][0], "alert").to_owned();
    assert_eq!(done["records"], json!([alert]));
    let path: &[(&str, &str)] = &[("alert", &alert)];
    let shown = administered.done("showAlert", (path, ""), None).await;
    assert_eq!(
        shown["containments"][0]["cause"]["administrator"]["reason"],
        "stolen laptop"
    );
    let seen = administered
        .done("acknowledgeAlert", (path, ""), Some(json!({"note": "done"})))
        .await;
    assert_eq!(
        (&seen["acknowledged"], &seen["note"]),
        (&json!(true), &json!("done"))
    );
    let (status, _) = administered
        .call("acknowledgeAlert", (path, ""), Some(json!({})))
        .await;
    assert_eq!(status, 409);
    // A dossier, of the type that the document has.
    replay(party, "curl/8").await;
    watch(&party.server).await;
    party.server.settle().await;
    let query = "?rule=refresh-replay";
    let alerts = administered.done("listAlerts", (&[], query), None).await;
    let alert = text(&alerts["items"][0], "alert").to_owned();
    let path: &[(&str, &str)] = &[("alert", &alert)];
    let shown = administered.done("showAlert", (path, ""), None).await;
    assert_eq!(shown["raised"]["dossier"]["presenter"]["agent"], "curl");
    let raised = &administered.document["components"]["schemas"]["AlertRaised"];
    assert!(raised["properties"]["dossier"].is_object(), "{raised}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_scopes_keys_retention_and_evidence_answer_as_documented() {
    let administered = Administered::new().await;
    let hook = json!({"target": {"kind": "webhook", "url": "https://receiver.example/hook"},
        "filter": {"types": ["TokenIssued"]}});
    let created = administered
        .done(
            "createStream",
            NONE,
            Some(json!({"name": "hook", "definition": hook})),
        )
        .await;
    assert!(text(&created, "secret").starts_with("whsec_"));
    let path: &[(&str, &str)] = &[("name", "hook")];
    for (target, word) in [
        (
            json!({"kind": "ocsf-file", "path": "/etc/cron.d/x", "max_bytes": 0}),
            "ocsf-file",
        ),
        (json!({"kind": "webhook", "url": "https://127.0.0.1/hook"}), "url"),
    ] {
        let body = json!({"name": "other", "definition": {"target": target}});
        let (status, refused) = administered.call("createStream", NONE, Some(body)).await;
        assert_eq!(status, 400);
        assert!(text(&refused, "message").contains(word), "{refused}");
    }
    let paused = administered
        .done("pauseStream", (path, ""), because("maintenance"))
        .await;
    assert_eq!(
        (&paused["state"], &paused["secret"]),
        (&json!("paused"), &Value::Null)
    );
    administered.done("resumeStream", (path, ""), None).await;
    let changed =
        json!({"target": {"kind": "webhook", "url": "https://receiver.example/other", "batched": true}});
    let changed = administered.done("updateStream", (path, ""), Some(changed)).await;
    assert_eq!(changed["target"]["batched"], true);
    let rotated = administered
        .done("rotateStreamSecret", (path, ""), Some(json!({})))
        .await;
    assert_ne!(rotated["secret"], created["secret"]);
    administered.done("retireStreamSecret", (path, ""), None).await;
    administered.done("listDeadLetters", (path, ""), None).await;
    administered.done("redeliver", (path, ""), Some(json!({}))).await;
    let discarded = administered
        .done("discard", (path, ""), because("nobody misses them"))
        .await;
    assert_eq!(discarded, json!({"stream": "hook", "discarded": 0}));
    let one = json!({"positions": [1], "reason": "nobody misses it"});
    assert_eq!(administered.call("discard", (path, ""), Some(one)).await.0, 404);
    let siem = |url: &str, more: Value| {
        let mut siem = json!({"target": {"kind": "ocsf-http", "url": url}});
        siem.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        siem
    };
    let definition = siem("https://siem.example/", json!({}));
    let body = json!({"name": "siem", "definition": definition, "credentials": "Splunk 0123"});
    administered.done("createStream", NONE, Some(body)).await;
    let other: &[(&str, &str)] = &[("name", "siem")];
    let body = siem("https://other.example/", json!({}));
    let (status, refused) = administered.call("updateStream", (other, ""), Some(body)).await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    for (credentials, secrets) in [("Bearer 4567", 1), ("", 0)] {
        let body = siem("https://other.example/", json!({"credentials": credentials}));
        let changed = administered.done("updateStream", (other, ""), Some(body)).await;
        assert_eq!(changed["secrets"], secrets);
    }
    administered
        .done("removeStream", (other, ""), because("done"))
        .await;
    let id = "0190a5b5-0000-7000-8000-000000000000";
    let nowhere: &[(&str, &str)] = &[("id", id)];
    assert_eq!(
        administered.done("listSignalStreams", NONE, None).await["items"],
        json!([])
    );
    let (status, _) = administered.call("showSignalStream", (nowhere, ""), None).await;
    assert_eq!(status, 404);
    for call in ["pauseSignalStream", "disableSignalStream", "enableSignalStream"] {
        assert_eq!(administered.call(call, (nowhere, ""), because("x")).await.0, 404);
    }
    administered.done("showStream", (path, ""), None).await;
    assert_eq!(
        administered.done("listStreams", NONE, None).await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    administered
        .done("removeStream", (path, ""), because("done"))
        .await;

    let path: &[(&str, &str)] = &[("scope", "orders")];
    let defined = json!({"description": "See your orders", "restricted": true});
    administered.done("defineScope", (path, ""), Some(defined)).await;
    let open = administered
        .done("changeScope", (path, ""), Some(json!({"restricted": false})))
        .await;
    assert_eq!(
        (&open["restricted"], &open["description"]),
        (&json!(false), &json!("See your orders"))
    );
    assert_eq!(
        administered
            .done("retireScope", (path, ""), because("unused"))
            .await["retired"],
        true
    );
    administered.done("showScope", (path, ""), None).await;
    administered.done("listScopes", NONE, None).await;

    let before = administered.done("listKeys", NONE, None).await;
    let rotated = administered
        .done("rotateKeys", NONE, Some(json!({"algorithm": "ES256"})))
        .await;
    let count = |keys: &Value| keys["items"].as_array().unwrap().len();
    assert_eq!(count(&rotated), count(&before) + 1);
    let kid = text(&rotated["items"][0], "kid").to_owned();
    let retired = administered
        .done("retireKey", (&[("kid", &kid)], ""), because("a drill"))
        .await;
    assert_eq!(retired["items"][0]["state"], "retired");

    let path: &[(&str, &str)] = &[("class", "refusal")];
    let kept = administered
        .done(
            "setRetention",
            (path, ""),
            Some(json!({"keep_days": 400, "reason": "policy 7"})),
        )
        .await;
    assert_eq!(kept["keep"][1], json!({"class": "refusal", "keep_days": 400}));
    assert_eq!(
        administered
            .call("setRetention", (path, ""), because("policy 7"))
            .await
            .0,
        400
    );
    administered.done("showRetention", NONE, None).await;
    let projections = administered.done("listProjections", NONE, None).await;
    assert!(
        projections["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["current"] == true)
    );

    let checkpoint = administered.done("showCheckpoint", NONE, None).await;
    assert_eq!(checkpoint["checkpoint"], Value::Null, "nobody seals here");
    assert_eq!(
        administered
            .call("proveEvent", (&[("position", "1")], ""), None)
            .await
            .0,
        404
    );
    assert_eq!(
        administered
            .call("proveConsistency", (&[], "?from=1"), None)
            .await
            .0,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_doctor_finds_is_told_over_http_but_for_what_reads_the_whole_ledger() {
    let administered = Administered::new().await;
    let told = administered.done("checkInstallation", NONE, None).await;
    let server = &administered.party.server;
    let failures = server.app.settings.failures_per_minute;
    let mut doctor = grantlog_on(&server.database);
    doctor
        .args(["doctor", "--json"])
        .env("GRANTLOG_FAILURES_PER_MINUTE", failures.to_string());
    let found: Value = serde_json::from_slice(&finish(doctor, None).await.stdout).unwrap();
    let names = |checks: &Value| -> Vec<String> {
        let checks = checks.as_array().unwrap().iter();
        checks.map(|check| text(check, "name").to_owned()).collect()
    };
    let mut expected = names(&found);
    expected.retain(|name| name != "positions");
    assert_eq!(names(&told["items"]), expected, "{told}");
    let verdict = |name: &str| {
        let check = told["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no {name}"))["verdict"].clone()
    };
    for good in ["database", "migrations", "rights", "triggers", "master key"] {
        assert_eq!(verdict(good), "ok", "{told}");
    }
    assert_eq!(verdict("issuer"), "warn", "it is for this machine only: {told}");
    assert!(told["verdict"] == "warn" || told["verdict"] == "fail", "{told}");
}
