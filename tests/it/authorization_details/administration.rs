//! Types as operators define them, clients that register for them, and the metadata document.

use serde_json::{Value, json};

use super::{BANK, FILES, PAYMENT, Rich, define, files, payment, payment_schema};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::{TestDatabase, TestServer};

async fn metadata(server: &TestServer) -> Value {
    let url = server.url("/.well-known/oauth-authorization-server");
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn the_metadata_names_the_types_and_clients_register_for_those_they_may_have() {
    let open = |settings: &mut grantlog::config::Settings| {
        settings.registration = grantlog::config::RegistrationMode::Open;
        settings.registration_scopes = vec!["view-user".to_owned()];
        settings.registrations_per_minute = 100;
        settings.registration_authorization_details_types = vec![PAYMENT.to_owned()];
    };
    let server = TestServer::start_with(open).await;
    assert!(
        metadata(&server)
            .await
            .get("authorization_details_types_supported")
            .is_none()
    );
    define(&server).await;
    assert_eq!(
        metadata(&server).await["authorization_details_types_supported"],
        json!([FILES, PAYMENT])
    );
    let http = reqwest::Client::new();
    let register = async |types: Value| {
        let members =
            json!({"redirect_uris": ["https://a.example/cb"], "authorization_details_types": types});
        let request = http.post(server.url("/oauth/register")).json(&members);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, registered) = register(json!([PAYMENT])).await;
    assert_eq!(
        (status, &registered["authorization_details_types"]),
        (201, &json!([PAYMENT])),
        "{registered}"
    );
    for types in [
        json!([FILES]),
        json!(["unheard_of"]),
        json!([PAYMENT, PAYMENT]),
        json!(["a b"]),
        json!("x"),
    ] {
        let (status, refused) = register(types.clone()).await;
        assert_eq!(
            (status, &refused["error"]),
            (400, &json!("invalid_client_metadata")),
            "{types}"
        );
    }
    // Its users are told that nobody knows it.
    server.user(crate::flow::USERNAME, crate::flow::PASSWORD).await;
    let browser = crate::harness::browser();
    let query: crate::flow::Query = [
        ("response_type", "code"),
        ("client_id", registered["client_id"].as_str().unwrap()),
        ("code_challenge", crate::flow::CHALLENGE),
        ("code_challenge_method", "S256"),
        ("scope", "view-user"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let account = (crate::flow::USERNAME, crate::flow::PASSWORD);
    crate::flow::log_in(&server, &browser, &query, account).await;
    let page = crate::flow::request(&server, &browser, &query).await;
    assert!(
        page.body.contains("This application registered itself"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn types_are_defined_checked_and_retired_at_the_command_line() {
    let database = TestDatabase::create().await;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let run = async |arguments: &[&str]| {
        let mut command = grantlog_on(&database);
        command.arg("authorization-detail-type").args(arguments);
        finish(command, None).await
    };
    let schema = write("schema.json", &payment_schema());
    let sentence = "Pay {instructedAmount.amount} to {creditorName}";
    let define = [
        "define",
        PAYMENT,
        "--schema",
        &schema,
        "--template",
        sentence,
        "--resource",
        BANK,
        "--ask-each-time",
        "--json",
    ];
    let defined: Value = serde_json::from_str(&stdout(&run(&define).await)).unwrap();
    let expected = json!({"type": PAYMENT, "schema": payment_schema(), "template": sentence, "resources": [BANK],
        "asked_each_time": true, "retired": false});
    assert_eq!(defined, expected);
    let shown = stdout(&run(&["show", PAYMENT]).await);
    assert!(
        shown.contains("template   Pay {instructedAmount.amount}"),
        "{shown}"
    );
    let mut open = payment_schema();
    open["additionalProperties"] = json!(true);
    let open = write("open.json", &open);
    for (arguments, said) in [
        (vec!["define", "x", "--schema", &open], "additionalProperties"),
        (vec!["define", "a b", "--schema", &schema], "name"),
        (
            vec!["define", "x", "--schema", &schema, "--template", "Pay {"],
            "template",
        ),
        (vec!["show", "x"], "there is no type x"),
    ] {
        let output = run(&arguments).await;
        let told = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(!output.status.success() && told.contains(said), "{told}");
    }
    let good = write("good.json", &json!([payment("9.99")]));
    let checked = stdout(&run(&["check", &good]).await);
    assert!(
        checked.starts_with("Pay 9.99 to Merchant <A> & Sons\n"),
        "{checked}"
    );
    let bad = write("bad.json", &json!([payment("9.99"), files(&["read"])]));
    let output = run(&["check", &bad, "--json"]).await;
    let faults: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!output.status.success());
    assert_eq!(
        (&faults[0]["faults"], faults[1]["faults"][0].is_string()),
        (&json!([]), true)
    );
    stdout(&run(&["retire", PAYMENT, "--reason", "a test", "--yes"]).await);
    let listed: Value = serde_json::from_str(&stdout(&run(&["list", "--json"]).await)).unwrap();
    assert_eq!(
        (&listed[0]["type"], &listed[0]["retired"]),
        (&json!(PAYMENT), &json!(true))
    );
}

/// A client that was never told to is not given any.
#[tokio::test]
async fn a_client_registered_before_types_were_known_asks_for_none() {
    let rich = Rich::with(json!({"authorization_details_types": []})).await;
    let answer = rich.request(&json!([files(&["read"])])).await;
    assert_eq!(answer.parameters()["error"], "invalid_authorization_details");
    assert_eq!(rich.reasons().await, ["authorization_detail_type_not_allowed"]);
}
