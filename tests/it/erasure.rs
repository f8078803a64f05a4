//! Erasure: nothing of the user is left that anybody could read; a legal hold keeps it from happening.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use grantlog::crypto::vault::KeyOwner;
use grantlog::domain::user::{User, UserCommand, UserRefusal};
use grantlog::evidence::export;
use grantlog::evidence::verify::{Place, verify};
use grantlog::ids::SubjectId;
use grantlog::operations::OperationError;
use grantlog::operations::erasure_export::erased_in_export;
use grantlog::projection::rebuild::Phase;
use grantlog::projection::{Progress, replay};
use serde_json::Value;
use sqlx::Executor;
use tokio::process::{Child, Command};

use crate::command_line::{finish, grantlog_on, stdout};
use crate::evidence::attacker::{BACKUP, RESTORE, attacker};
use crate::evidence::{Sealed, reopen};
use crate::flow;
use crate::harness::{TestDatabase, TestServer, browser};
use crate::secrets::dump_of;

/// What is to be found nowhere: in the login name, the name, the address; the phone number; the agent.
const TRACES: [&str; 3] = ["quartermaine", "5550104477", "quagmire"];
const USERNAME: &str = "Zenobia.Quartermaine";
const PASSWORD: &str = "correct horse battery";

async fn user(server: &TestServer, arguments: &[&str]) -> Output {
    let mut command = grantlog_on(&server.database);
    command.arg("user").args(arguments);
    finish(command, None).await
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// The trace as it is, in base64 wherever it begins, and in hexadecimal, each in any case.
fn forms(trace: &str) -> Vec<String> {
    let mut forms = vec![trace.to_owned(), hex(trace)];
    for text in [trace.to_owned(), capitalized(trace)] {
        for shift in 0..3 {
            let padded = format!("{}{text}", "x".repeat(shift));
            // The characters of base64 that the bytes before and after have no part in.
            let from = [0, 2, 3][shift];
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let encoded = engine.encode(&padded);
                forms.push(encoded[from..padded.len() / 3 * 4].to_lowercase());
            }
        }
    }
    forms
}

fn hex(text: &str) -> String {
    let digits: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn capitalized(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

/// Fails where any form of any trace is in a text.
fn assert_no_trace(place: &str, text: &str) {
    let text = text.to_lowercase();
    for form in TRACES.iter().flat_map(|trace| forms(trace)) {
        assert!(!text.contains(&form), "{place} holds {form}");
    }
}

fn assert_no_trace_in_files(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_trace_in_files(&path);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert_no_trace(path.to_str().unwrap(), &text);
        }
    }
}

/// Another node on the same database, whose log goes to a file.
async fn node(database: &TestDatabase, issuer: &str, log: &Path) -> (Child, String) {
    let mut command = Command::from(grantlog_on(database));
    let file = std::fs::File::create(log).unwrap();
    let child = command
        .arg("serve")
        .env("GRANTLOG_ISSUER", issuer)
        .env("GRANTLOG_LISTEN", "127.0.0.1:0")
        .env("GRANTLOG_LOG_FILTER", "debug")
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = crate::command_line::eventually("the node listens", || {
        let text = std::fs::read_to_string(log).unwrap();
        let found = text
            .split("127.0.0.1:")
            .nth(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        async move { found.filter(|port| !port.is_empty()) }
    })
    .await;
    (child, format!("http://127.0.0.1:{address}"))
}

async fn who(base: &str, token: &str) -> (u16, String) {
    let answer = browser()
        .get(format!("{base}/api/user"))
        .header("user-agent", "Quagmire/7.7")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Fills in the login form of a node.
async fn log_in(base: &str, agent: &reqwest::Client, query: &flow::Query, password: &str) -> (u16, String) {
    let url = format!("{base}/oauth/authorize?{}", flow::encode(query));
    let page = agent.get(&url).send().await.unwrap().text().await.unwrap();
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
    let token = rest.split_once('"').unwrap().0;
    let fields = [
        ("step", "login"),
        ("form_token", token),
        ("username", USERNAME),
        ("password", password),
    ];
    let answer = agent.post(&url).form(&fields).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_nothing_holds_a_trace_of_the_user_and_proofs_still_verify() {
    let sealed = Sealed::with_events(1).await;
    let server = &sealed.server;
    let made = tempfile::tempdir().unwrap();
    let log = made.path().join("log");
    let client = server.client(flow::confidential()).await;
    let created = [
        "create",
        USERNAME,
        "--name",
        "Zenobia Quartermaine",
        "--email",
        "z@quartermaine.example",
        "--claim",
        "phone_number=+15550104477",
        "--password-stdin",
        "--json",
    ];
    let mut command = grantlog_on(&server.database);
    command.arg("user").args(created);
    let sub = json(&finish(command, Some(PASSWORD)).await)["sub"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_child, other) = node(&server.database, &server.base, &log).await;
    // A wrong password, a login, a consent, tokens, their use on both nodes: all with an agent of the user's.
    let agent = reqwest::Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("Quagmire/7.7")
        .build()
        .unwrap();
    let query = flow::query(&client);
    assert!(log_in(&other, &agent, &query, "quartermaine's guess").await.0 != 303);
    let (status, body) = log_in(&other, &agent, &query, PASSWORD).await;
    assert_eq!(status, 303, "{body}");
    let mut page = flow::request(server, &agent, &query).await;
    if page.is_consent_page() {
        page = flow::decide(server, &agent, &query, (&page, "approve")).await;
    }
    let code = page.parameters()["code"].clone();
    let answer = agent
        .post(server.url("/oauth/token"))
        .basic_auth(&client.client_id, client.client_secret.as_ref())
        .form(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ])
        .send()
        .await
        .unwrap();
    let tokens: Value = answer.json().await.unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    for base in [&server.base, &other] {
        let (status, body) = who(base, token).await;
        assert!(status == 200 && body.contains("Quartermaine"), "{status} {body}");
    }
    server.settle().await;
    let mut replay = grantlog_on(&server.database);
    let at = crate::command_line::head(server).await.to_string();
    replay.args(["replay", "--at", &at, "--into", "before"]);
    stdout(&finish(replay, None).await);
    sealed.settle().await;
    let before = sealed.anchor().await;

    // A hold keeps all of it, and says why to who asks; its reason is encrypted too.
    let because = "Quartermaine v. Example";
    let held = json(&user(server, &["hold", USERNAME, "--reason", because, "--json"]).await);
    assert_eq!(held["legal_hold"]["reason"], because);
    let refused = stderr(&user(server, &["erase", USERNAME, "--yes"]).await);
    assert!(
        refused.contains("a legal hold is placed") && refused.contains(because),
        "{refused}"
    );
    stdout(&user(server, &["release", USERNAME, "--reason", "Quartermaine settled"]).await);
    let naming = stderr(
        &user(
            server,
            &[
                "erase",
                USERNAME,
                "--yes",
                "--reason",
                "zenobia.quartermaine asked",
            ],
        )
        .await,
    );
    assert!(naming.contains("it names the user"), "{naming}");

    let planned = json(&user(server, &["erase", USERNAME, "--dry-run", "--json"]).await);
    assert_eq!(planned["destroyed"]["personal_key"], true, "{planned}");
    assert_eq!(
        planned["destroyed"]["network_keys"].as_array().unwrap().len(),
        1,
        "{planned}"
    );
    assert_eq!(
        planned["names_given_up"],
        serde_json::json!(["username", "email"])
    );
    assert_eq!(
        planned["ended"],
        serde_json::json!({"sessions": 1, "grants": 1, "consents": 1}),
        "{planned}"
    );
    let rows: Vec<_> = planned["blanked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["rows"].as_i64())
        .collect();
    assert_eq!(
        rows,
        [Some(1), Some(1)],
        "the table of users, and the replayed one: {planned}"
    );
    assert_eq!(planned["kept"]["grant_events"], 3, "{planned}");
    assert_eq!(who(&other, token).await.0, 200, "a dry run changes nothing");
    let mut done = json(
        &user(
            server,
            &["erase", USERNAME, "--yes", "--reason", "request 17", "--json"],
        )
        .await,
    );
    assert_eq!(
        (&done["state"], &done["sub"]),
        (&"erased".into(), &sub.as_str().into())
    );
    done["state"] = planned["state"].clone();
    done["dry_run"] = true.into();
    assert_eq!(done, planned, "what was said is what was done");

    for base in [&server.base, &other] {
        let (status, body) = who(base, token).await;
        assert_eq!(status, 401);
        assert_no_trace("an answer", &body);
    }
    server.settle().await;
    crate::evidence::append(server, 2).await;
    sealed.settle().await;
    for (table, row) in dump_of(server, &["grantlog", "public", "before"]).await {
        assert_no_trace(&table, &row);
    }
    let pool = server.app.ledger.pool();
    let export = made.path().join("export");
    export::export(pool, &export, 0, &mut |_, _| {}).await.unwrap();
    assert_no_trace_in_files(made.path());
    let subject = SubjectId(sub.parse().unwrap());
    assert!(
        erased_in_export(pool, &export)
            .await
            .unwrap()
            .subjects
            .contains(&subject)
    );
    let anchors = vec![before, sealed.anchor().await];
    let report = verify(&Place::Database(pool.clone()), anchors, &[], &mut |_| {})
        .await
        .unwrap();
    assert_eq!((report.finding, report.agreed.len()), (None, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hold_and_an_erasure_on_two_nodes_exactly_one_wins() {
    let server = TestServer::start().await;
    let other = reopen(&server, None).await.unwrap();
    let context = TestServer::context();
    for number in 0..12 {
        let subject = server.user(&format!("user{number}"), PASSWORD).await;
        // Both know the user already, so neither decides on anything fresh.
        other.operations.load::<User>(subject.0).await.unwrap();
        let holding = server
            .app
            .operations
            .place_hold(&context, subject, "a lawsuit", None);
        let erase = other.operations.erase_user(&context, subject);
        let (held, erased) = tokio::join!(holding, erase);
        let keys = server.app.ledger.vault().periods(subject).await.unwrap().len();
        let events: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM grantlog.ledger_user WHERE aggregate_id = $1 \
             AND event_type IN ('LegalHoldPlaced', 'SubjectKeyDestroyed')",
        )
        .bind(subject.0)
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap();
        assert_eq!(events, 1);
        match (held, erased) {
            (Ok(()), Err(OperationError::User(UserRefusal::LegalHold))) => assert_eq!(keys, 1),
            (Err(OperationError::User(UserRefusal::Unknown)), Ok(_)) => assert_eq!(keys, 0),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_came_back_from_a_backup_are_destroyed_again() {
    let server = TestServer::start().await;
    let subject = server.user("ada", PASSWORD).await;
    let other = reopen(&server, None).await.unwrap();
    let owner = KeyOwner::subject(subject);
    assert!(other.ledger.vault().find(&owner).await.unwrap().is_some());
    let database = server.database.owner().await;
    sqlx::query("CREATE TABLE public.backup AS SELECT * FROM grantlog.data_keys")
        .execute(&database)
        .await
        .unwrap();
    server
        .app
        .operations
        .erase_user(&TestServer::context(), subject)
        .await
        .unwrap();
    // Another node forgets the key that it had in memory.
    assert!(other.ledger.vault().find(&owner).await.unwrap().is_some());
    let repeated = other.operations.repeat_erasures(0).await.unwrap();
    assert_eq!(repeated.subjects, [], "nothing was left to destroy");
    assert!(other.ledger.vault().find(&owner).await.unwrap().is_none());

    sqlx::query("INSERT INTO grantlog.data_keys SELECT * FROM public.backup ON CONFLICT DO NOTHING")
        .execute(&database)
        .await
        .unwrap();
    assert_eq!(other.operations.keys_of_erased(0).await.unwrap().0, [subject]);
    assert_eq!(
        other.operations.keys_of_erased(repeated.upto).await.unwrap().0,
        []
    );
    let mut doctor = grantlog_on(&server.database);
    doctor.args(["doctor", "--json"]);
    let report = finish(doctor, None).await;
    assert!(String::from_utf8_lossy(&report.stdout).contains("came back from a backup"));
    let again = json(&user(&server, &["erase", "--again", "--json"]).await);
    assert_eq!(again["keys_destroyed"], serde_json::json!([subject]), "{again}");
    assert!(
        server
            .app
            .ledger
            .vault()
            .periods(subject)
            .await
            .unwrap()
            .is_empty()
    );
}

/// The ledger comes back from a backup that is older than an erasure, and an export knows of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_restored_ledger_does_not_know_is_repeated_from_an_export() {
    let sealed = Sealed::with_events(300).await;
    let server = &sealed.server;
    let subject = server.user("ada", PASSWORD).await;
    sealed.settle().await;
    let mut database = attacker(server).await;
    database.execute(BACKUP).await.unwrap();
    database
        .execute(
            "CREATE TABLE backup_keys AS SELECT * FROM grantlog.data_keys; \
             CREATE TABLE backup_names AS SELECT * FROM grantlog.names",
        )
        .await
        .unwrap();
    let context = TestServer::context();
    server.app.operations.erase_user(&context, subject).await.unwrap();
    sealed.settle().await;
    let made = tempfile::tempdir().unwrap();
    let directory = made.path().to_str().unwrap().to_owned();
    let pool = server.app.ledger.pool().clone();
    export::export(&pool, made.path(), 0, &mut |_, _| {})
        .await
        .unwrap();
    let Sealed { server, sealer } = sealed;
    sealer.stop().await;
    database.execute(RESTORE).await.unwrap();
    database
        .execute(
            "DELETE FROM grantlog.data_keys; INSERT INTO grantlog.data_keys SELECT * FROM backup_keys; \
             DELETE FROM grantlog.names; INSERT INTO grantlog.names SELECT * FROM backup_names",
        )
        .await
        .unwrap();
    let shown = json(&user(&server, &["show", "ada", "--json"]).await);
    assert_eq!(
        shown["username"], "ada",
        "the ledger knows the user again: {shown}"
    );

    let again = ["erase", "--again", "--export", &directory, "--yes", "--json"];
    // An export that was robbed of the erasure says nothing, rather than that nobody was erased.
    let entries = made.path().join("tile/entries");
    let aside = made.path().join("aside");
    std::fs::rename(&entries, &aside).unwrap();
    let refused = user(&server, &again).await;
    assert!(
        !refused.status.success() && stderr(&refused).contains("does not verify, from position 1 on"),
        "{}",
        stderr(&refused)
    );
    std::fs::rename(&aside, &entries).unwrap();
    let done = json(&user(&server, &again).await);
    assert_eq!(done["erased"], serde_json::json!([subject]), "{done}");
    assert_eq!(done["unread_events"], 0, "{done}");
    assert!(!user(&server, &["show", "ada"]).await.status.success());
    let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM grantlog.data_keys WHERE owner = $1")
        .bind(subject.0)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(keys, 0);
    let done = json(&user(&server, &again).await);
    assert_eq!(done["erased"], serde_json::json!([]), "{done}");
}

/// Who is erased while a replay makes its tables is not in them.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_during_a_replay_reaches_its_tables() {
    let server = TestServer::start().await;
    let subject = server.user("ada", PASSWORD).await;
    server.settle().await;
    let ledger = &server.app.ledger;
    let head = *ledger.head().borrow();
    let (erased, runtime) = (AtomicBool::new(false), tokio::runtime::Handle::current());
    let operations = server.app.operations.clone();
    // The rows are made by then, and nobody sees the schema yet.
    let progress = move |progress: Progress| {
        if progress.phase == Phase::Indexing && !erased.swap(true, Ordering::SeqCst) {
            let erasing = async { operations.erase_user(&TestServer::context(), subject).await };
            tokio::task::block_in_place(|| runtime.block_on(erasing)).unwrap();
        }
    };
    let into = "before".parse().unwrap();
    replay(ledger.pool(), ledger.vault(), (&into, false), head, &progress)
        .await
        .unwrap();
    let shown: Vec<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT username, email FROM before.users WHERE subject = $1")
            .bind(subject.0)
            .fetch_all(ledger.pool())
            .await
            .unwrap();
    assert_eq!(shown, [(None, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_finds_the_user_named_in_what_was_written_about_others() {
    let server = TestServer::start().await;
    let made = stdout(
        &user(
            &server,
            &["create", USERNAME, "--name", "Zenobia Q", "--no-password"],
        )
        .await,
    );
    assert!(made.contains("username"), "{made}");
    let desk = |name| serde_json::json!({"client_name": name, "grant_types": ["client_credentials"]});
    let one = server.client(desk("Desk")).await;
    let suspend = async |client: &str, reason: &str| {
        let mut command = grantlog_on(&server.database);
        command.args(["client", "suspend", client, "--reason", reason]);
        stdout(&finish(command, None).await);
    };
    suspend(&one.client_id, "a quarter of all Zenobias know zenobiad").await;
    let other = server.client(desk("Other")).await;
    suspend(&other.client_id, "the laptop of zenobia.quartermaine was stolen").await;
    let third = server.client(desk("Third")).await;
    suspend(&third.client_id, "Zenobia, who called, lost it").await;
    let named: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM grantlog.ledger_client WHERE event_type = 'ClientSuspended' ORDER BY position",
    )
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap();
    let planned = json(&user(&server, &["erase", USERNAME, "--dry-run", "--json"]).await);
    assert_eq!(
        planned["named_in_clear"],
        serde_json::json!(named[1..]),
        "{planned}"
    );
}

/// The login name that a replayed table shows.
async fn replayed_name(server: &TestServer, subject: SubjectId) -> Option<String> {
    sqlx::query_scalar("SELECT username FROM before.users WHERE subject = $1")
        .bind(subject.0)
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap()
}

/// A process dies right after the event; one of two replayed schemas is another role's.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_died_half_way_is_finished_wherever_it_can_be() {
    let server = TestServer::start().await;
    let (ada, bob) = (
        server.user("ada", PASSWORD).await,
        server.user("bob", PASSWORD).await,
    );
    server.settle().await;
    let (ledger, operations) = (&server.app.ledger, &server.app.operations);
    let head = *ledger.head().borrow();
    for into in ["another", "before"] {
        let into = into.parse().unwrap();
        replay(ledger.pool(), ledger.vault(), (&into, false), head, &|_| {})
            .await
            .unwrap();
    }
    let owner = server.database.owner().await;
    owner
        .execute(
            "ALTER TABLE another.users OWNER TO postgres; REVOKE ALL ON another.users FROM grantlog_app; \
             REVOKE ALL ON SCHEMA another FROM grantlog_app",
        )
        .await
        .unwrap();

    let context = TestServer::context();
    let mut unit = ledger.unit_of_work(&context);
    let user_state = unit.load::<User>(ada.0).await.unwrap();
    let decision = user_state.decide(&UserCommand::Erase { at: unit.at() });
    let concluded = unit.conclude(&user_state, decision).await.unwrap();
    assert!(concluded.unwrap().outcome.is_ok());
    assert_eq!(replayed_name(&server, ada).await.as_deref(), Some("ada"));
    let repeated = operations.repeat_erasures(head).await.unwrap();
    assert_eq!(repeated.subjects, [ada]);
    let refused: Vec<_> = repeated
        .not_blanked
        .iter()
        .map(|refused| &*refused.schema)
        .collect();
    assert_eq!(refused, ["another"]);
    assert_eq!(replayed_name(&server, ada).await, None);
    assert_eq!(replayed_name(&server, bob).await.as_deref(), Some("bob"));

    let erased = user(&server, &["erase", "bob", "--yes", "--json"]).await;
    assert!(!erased.status.success() && stderr(&erased).contains("another (error returned from database"));
    let said: Value = serde_json::from_slice(&erased.stdout).unwrap();
    assert_eq!(said["state"], "erased");
    assert_eq!(
        said["blanked"],
        serde_json::json!([
            {"table": "public.users", "rows": 1}, {"table": "another.users", "rows": null},
            {"table": "before.users", "rows": 1},
        ])
    );
    assert_eq!(replayed_name(&server, bob).await, None);
    assert_eq!(ledger.vault().periods(bob).await.unwrap(), [] as [String; 0]);
    let mut doctor = grantlog_on(&server.database);
    doctor.args(["doctor", "--json"]);
    let report = finish(doctor, None).await;
    assert!(String::from_utf8_lossy(&report.stdout).contains("the replayed schemas another show"));
    owner.execute("DROP SCHEMA another CASCADE").await.unwrap();
    json(&user(&server, &["erase", "--again", "--json"]).await);
}
